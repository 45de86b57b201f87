# kai-airflow with its Airflow: every part of docker-compose.yaml but the database, NATS and the cluster.
ARG PYTHON_IMAGE=docker.io/library/python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
WORKDIR /src
# First what changes rarely.
COPY requirements/image.txt requirements/
RUN /opt/venv/bin/python -m pip install --require-hashes --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY kai_airflow kai_airflow
# hatchling, which builds it, is one of these requirements, so that it has a hash like the others.
RUN /opt/venv/bin/python -m pip install --no-deps --no-build-isolation . \
    && /opt/venv/bin/python -m pip check

FROM ${PYTHON_IMAGE}
# Group 0 may write to the folders, so that any user may run it: see `user` in docker-compose.yaml.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --no-create-home airflow \
    && install --directory --owner airflow --group 0 --mode 2775 \
        /opt/airflow /opt/airflow/dags /opt/airflow/plugins /kube
COPY --from=build /opt/venv /opt/venv
# A name for whoever it is: Airflow asks for one.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 AIRFLOW_HOME=/opt/airflow HOME=/opt/airflow USER=airflow
USER 50000:0
WORKDIR /opt/airflow
CMD ["kai-airflow", "--help"]
