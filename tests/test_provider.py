"""What Airflow learns of this package, read by Airflow itself from an installed copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kai_airflow.nats.address import EXTRA
from kai_airflow.nats.hook import NatsHook
from kai_airflow.provider import get_provider_info

ROOT = Path(__file__).parents[1]
INFO = get_provider_info()

READ = """
import json
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

manager = ProvidersManager()
(form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "nats"]
print(json.dumps({
    "version": manager.providers["kai-airflow"].version,
    "hook": manager.hooks["nats"].hook_class_name,
    "testable": manager.hooks["nats"].connection_testable,
    "queues": list(manager.queue_class_names),
    "form": form.model_dump(mode="json"),
    "max_age": conf.getint("kai_airflow", "stream_max_age"),
    "max_bytes": conf.get("kai_airflow", "stream_max_bytes"),
    "replicas": conf.get("kai_airflow", "stream_replicas"),
    "runs": conf.getint("kai_airflow", "max_queued_runs"),
}))
"""


def airflow_schema() -> Any:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    return json.loads(Path(spec.origin).with_name("provider_info.schema.json").read_text())


def test_airflows_schema_takes_it() -> None:
    jsonschema.validate(INFO, airflow_schema())


def test_it_says_nothing_that_the_schema_does_not_know() -> None:
    assert INFO.keys() <= airflow_schema()["properties"].keys()


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_each_module_that_is_named_is_there(kind: str) -> None:
    for entry in INFO[kind]:
        for module in entry["python-modules"]:
            import_module(module)


def test_the_form_has_a_field_for_each_key_of_the_extra() -> None:
    (connection,) = INFO["connection-types"]
    assert tuple(connection["conn-fields"]) == EXTRA
    assert (connection["connection-type"], connection["hook-name"]) == (NatsHook.conn_type, NatsHook.hook_name)


def test_reading_it_loads_nothing_else() -> None:
    code = "import sys, kai_airflow.provider as p; p.get_provider_info(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    found = {name for name in loaded.split() if name.startswith("kai_airflow")}
    assert found == {"kai_airflow", "kai_airflow.provider"}
    assert not {"airflow", "nats", "pydantic"} & set(loaded.split())


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an Airflow finds that sees this package's metadata, as an installation leaves them."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["apache_airflow_provider"]
    metadata = folder / "kai_airflow-0.0.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.4\nName: kai-airflow\nVersion: 0.0.9\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[apache_airflow_provider]", *lines]))
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}", "AIRFLOW_HOME": str(folder)}
    told = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def test_airflow_finds_the_package_its_hook_and_its_queue(read: dict[str, Any]) -> None:
    assert read["version"] == "0.0.9"
    assert read["hook"] == "kai_airflow.nats.hook.NatsHook"
    assert read["testable"]
    assert "kai_airflow.nats.queue.NatsMessageQueueProvider" in read["queues"]


def test_airflow_shows_a_form_whose_secrets_are_password_fields(read: dict[str, Any]) -> None:
    fields = read["form"]["extra_fields"]
    hidden = {name for name, found in fields.items() if found["schema"].get("format") == "password"}
    assert hidden == {"token", "creds_secret", "nkey_secret", "tls_private_key", "pods_password", "pods_token"}
    assert all(found["schema"]["title"] and found["description"] for found in fields.values())
    assert read["form"]["standard_fields"]["host"]["title"] == "Servers"
    assert read["form"]["standard_fields"]["url_schema"]["hidden"]


def test_airflow_has_the_options_with_their_defaults(read: dict[str, Any]) -> None:
    assert (read["max_age"], read["runs"]) == (604800, 1000)
    assert (read["max_bytes"], read["replicas"]) == ("", "")
