# The two commands: `make demo` runs the main job, `make test` all the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Much of what tests do is waiting: two at a time, a file's tests one after another.
TWO := --numprocesses 2 --dist loadfile
.DEFAULT_GOAL := help

.PHONY: help demo demo-serving test lint unit stack chaos bench proto requirements compose-env clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/installed ## the example of KAI's README, end to end on this machine (KEEP=1 leaves it running)
	$(BIN)/kai-airflow demo $(if $(KEEP),--keep)

demo-serving: $(VENV)/installed ## a product that answers HTTP calls within milliseconds (KEEP=1 leaves it running)
	$(BIN)/kai-airflow demo --serving $(if $(KEEP),--keep)

test: lint unit stack ## everything below

lint: $(VENV)/installed ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/installed ## unit tests, and tests against a real nats-server
	$(BIN)/python -m pytest -m "not stack" $(TWO)

chaos: $(VENV)/installed ## runs during which something is killed every second, with twenty seeds; an hour
	KAI_AIRFLOW_CHAOS=20 $(BIN)/python -m pytest -m stack tests/stack/test_chaos.py

# dag-factory is only compared with. It has a folder of its own: as a plugin of Airflow it would be imported by every part
# of a stack that finds it. All that it needs is in requirements/dev.txt.
$(VENV)/dag-factory: $(VENV)/installed requirements/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade --target $@ -r requirements/bench.txt
	@touch $@

bench: $(VENV)/dag-factory ## what a process and a KRT cost, measured on a stack of its own; half an hour (ARGS="--json --repeat 3")
	@$(BIN)/python -m benchmarks $(ARGS)

stack: $(VENV)/installed ## end-to-end tests on the whole stack
	$(BIN)/python -m pytest -m stack $(TWO)

# Code that an older protoc generates runs on newer libraries, not the other way round: the lowest that pyproject.toml allows.
proto: ## the generated code of kai_airflow/messaging/kai_nats_msg.proto
	$(PYTHON) -m venv $(VENV)/proto
	$(VENV)/proto/bin/python -m pip install --quiet --disable-pip-version-check grpcio-tools==1.75.1 'setuptools<81'
	$(VENV)/proto/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. kai_airflow/messaging/kai_nats_msg.proto

requirements: ## the pinned requirements of development, from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra local --extra messaging --extra dev pyproject.toml --output-file requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-deps requirements/bench.in --output-file requirements/bench.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra messaging --constraint requirements/dev.txt pyproject.toml requirements/image.in \
		--output-file requirements/image.txt

# Written by a shell alone: who has Docker needn't have Python. A file that is there is nobody's to overwrite.
compose-env: ## .env for docker-compose.yaml, with passwords of its own
	@test ! -e .env || { echo ".env is there already, and stays as it is. Remedy: move it away for a new one; the passwords" \
		"in it are those of the databases that docker compose has made." >&2; exit 1; }
	@umask 077; set -eC; \
	hex() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }; \
	user=$$(id -u); test "$$user" != 0 || user=50000; \
	written=$$(printf '%s\n' \
		"# The settings of docker-compose.yaml. Whoever can read this file has every password in it." \
		"ADMIN_PASSWORD=$$(hex)" \
		"BRIDGE_PASSWORD=$$(hex)" \
		"POSTGRES_PASSWORD=$$(hex)" \
		"NATS_PASSWORD=$$(hex)" \
		"API_SECRET_KEY=$$(hex)" \
		"JWT_SECRET=$$(hex)" \
		"FERNET_KEY=$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" \
		"" \
		"# Who runs Airflow's containers: you, so that they may read a kubeconfig of yours." \
		"AIRFLOW_UID=$$user" \
		"" \
		"# The cluster: a k3s of one node, in a container that has all rights on this machine." \
		"COMPOSE_PROFILES=k3s" \
		"KUBE_FOLDER=k3s-kubeconfig" \
		"NATS_FOR_PODS=nats://172.30.84.10:4222" \
		"# One of your own instead: these in the place of those three. The folder holds a kubeconfig named config; the" \
		"# addresses are those at which pods reach this machine." \
		"#KUBE_FOLDER=/home/you/.kube" \
		"#KUBE_NAMESPACE=kai" \
		"#NATS_BIND=192.0.2.7" \
		"#NATS_FOR_PODS=nats://192.0.2.7:4222"); \
	printf '%s\n' "$$written" > .env; \
	echo ".env is written. Next: docker compose up -d; Airflow's user is admin, with its ADMIN_PASSWORD."

clean: ## the environment and what the stack left
	rm -rf $(VENV) .kai-airflow .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
