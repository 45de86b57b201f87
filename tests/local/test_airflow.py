"""The configuration of the stack's Airflow."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from kai_airflow.local import airflow
from kai_airflow.local.airflow import Addresses
from kai_airflow.local.home import Home, Secrets

HOME = Home(Path("/home/of/stack"))
SECRETS = Secrets(nats="nats-pw", postgres="pg-pw", admin="ui-pw", api="api-key", jwt="jwt-key", fernet="fernet-key")
ADDRESSES = Addresses(Path("/dags"), ui=8081, postgres=5001, nats=4001, kubernetes=6001, ingress=7001)


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return airflow.environment({"PATH": "/bin"}, HOME, SECRETS, ADDRESSES)


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """Airflow's own list of its options."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).with_name("config_templates").joinpath("config.yml").read_text()
    sections: dict[str, Any] = yaml.safe_load(text)
    return sections


def test_each_setting_is_one_that_airflow_knows(variables: dict[str, str], options: dict[str, Any]) -> None:
    settings = [name.split("__")[1:] for name in variables if name.startswith("AIRFLOW__")]
    unknown = [(s, key) for s, key in settings if key.lower() not in options[s.lower()]["options"]]
    assert len(settings) > 20
    assert unknown == []


def test_the_callers_environment_is_kept(variables: dict[str, str]) -> None:
    assert variables["PATH"] == "/bin"


def test_all_that_airflow_writes_is_in_the_home(variables: dict[str, str], options: dict[str, Any]) -> None:
    """Folders are below AIRFLOW_HOME by Airflow's own defaults, but for two: the bundles' and the passwords' file."""
    assert variables["AIRFLOW_HOME"] == "/home/of/stack/airflow"
    assert options["logging"]["options"]["base_log_folder"]["default"] == "{AIRFLOW_HOME}/logs"
    for name in ("DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"):
        assert variables[f"AIRFLOW__{name}"].startswith("/home/of/stack/airflow/")


def test_the_dags_folder_is_read_for_krt_files_and_for_python(variables: dict[str, str]) -> None:
    bundles = json.loads(variables["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert [(bundle["name"], bundle["classpath"], bundle["kwargs"]["path"]) for bundle in bundles] == [
        ("krt", "kai_airflow.bundle.KrtDagBundle", "/dags"),
        ("dags-folder", "airflow.dag_processing.bundles.local.LocalDagBundle", "/dags"),
    ]


def test_the_connections_are_those_of_the_stack(variables: dict[str, str]) -> None:
    assert json.loads(variables["AIRFLOW_CONN_NATS_DEFAULT"]) == {
        "conn_type": "nats",
        "host": "127.0.0.1",
        "port": 4001,
        "login": "kai-airflow",
        "password": "nats-pw",
    }
    assert json.loads(variables["AIRFLOW_CONN_KUBERNETES_DEFAULT"]) == {
        "conn_type": "kubernetes",
        "extra": {"kube_config_path": "/home/of/stack/kubernetes/kubeconfig", "namespace": "default"},
    }


def test_no_command_line_holds_a_secret(variables: dict[str, str]) -> None:
    parts = [airflow.migration(variables, 0), *airflow.components(variables, 0)]
    words = " ".join(word for part in parts for word in part.command)
    assert not [
        secret for secret in ("nats-pw", "pg-pw", "ui-pw", "api-key", "jwt-key", "fernet-key") if secret in words
    ]


def test_the_password_of_the_ui_is_in_a_private_file_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    airflow.write_passwords(home, SECRETS)
    variables = airflow.environment({}, home, SECRETS, ADDRESSES)
    file = Path(variables["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(file.read_text()) == {"admin": "ui-pw"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert "ui-pw" not in "".join(variables.values())
