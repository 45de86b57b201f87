"""docker-compose.yaml and the .env that belongs to it, read by Docker Compose itself."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from kai_airflow.local import airflow, nats
from tests.compose.composing import FILE, compose, make_env, project, services, settings, write_settings

SECRETS = ["ADMIN_PASSWORD", "BRIDGE_PASSWORD", "POSTGRES_PASSWORD", "NATS_PASSWORD"]
KEYS = ["API_SECRET_KEY", "JWT_SECRET", "FERNET_KEY"]
IMAGES = ["KAI_AIRFLOW_IMAGE", "POSTGRES_IMAGE", "NATS_IMAGE", "K3S_IMAGE"]
ONCE = {"nats-folder", "airflow-init", "k3s-kubeconfig"}
ROOTS = {"nats-folder", "k3s"}  # one changes an owner, the other runs containers
SILENT = {"bridge", "sweep"}  # they listen nowhere
AIRFLOW = {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer", "bridge", "sweep"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return project(tmp_path)


@pytest.fixture
def understood(folder: Path) -> dict[str, Any]:
    return services(folder)


def test_what_make_writes_is_all_that_compose_needs(understood: dict[str, Any]) -> None:
    assert set(understood["services"]) == AIRFLOW | {"postgres", "nats", "nats-folder", "k3s", "k3s-kubeconfig"}


def test_passwords_are_random_and_nobody_else_reads_them(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = project(tmp_path_factory.mktemp("other"))
    mine, others = settings(folder), settings(other)
    secrets = [mine[name] for name in SECRETS + KEYS] + [others[name] for name in SECRETS + KEYS]
    assert len(set(secrets)) == len(secrets)
    assert all(re.fullmatch("[0-9a-f]{48}", mine[name]) for name in SECRETS + KEYS[:2])
    Fernet(mine["FERNET_KEY"])
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600


def test_an_env_that_is_there_stays(folder: Path) -> None:
    before = (folder / ".env").read_bytes()
    made = make_env(folder)
    assert made.returncode != 0
    assert ".env is there already, and stays as it is. Remedy:" in made.stderr
    assert (folder / ".env").read_bytes() == before


@pytest.mark.parametrize("name", [*SECRETS, *KEYS, "KUBE_FOLDER", "NATS_FOR_PODS"])
def test_what_is_missing_is_named_with_the_remedy(folder: Path, name: str) -> None:
    chosen = settings(folder)
    del chosen[name]
    write_settings(folder, chosen)
    read = compose(folder, "config", "--quiet")
    assert read.returncode != 0
    assert f"required variable {name} is missing a value: is not set. Remedy: " in read.stderr


def test_compose_refuses_what_its_schema_does_not_know(folder: Path) -> None:
    file = folder / FILE.name
    file.write_text(file.read_text().replace("read_only: true", "readonly: true", 1))
    read = compose(folder, "config", "--quiet")
    assert read.returncode != 0
    assert ".readonly" in read.stderr


def test_every_image_has_a_pinned_tag_and_can_be_another(folder: Path, understood: dict[str, Any]) -> None:
    used = {service["image"] for service in understood["services"].values()}
    assert all(re.search(r":(v?\d+\.\d+.*|local)$", image) for image in used)
    mine = {name: f"mirror.example.com/{name.lower()}:1" for name in IMAGES}
    replaced = {service["image"] for service in services(folder, **mine)["services"].values()}
    assert replaced == set(mine.values())
    base = services(folder, PYTHON_IMAGE="mirror.example.com/python:1")["services"]["airflow-init"]["build"]["args"]
    assert base == {"PYTHON_IMAGE": "mirror.example.com/python:1"}


def test_the_image_is_built_once_and_never_looked_for_elsewhere(understood: dict[str, Any]) -> None:
    ours = {
        name: service for name, service in understood["services"].items() if service["image"] == "kai-airflow:local"
    }
    assert ours.keys() == AIRFLOW | {"k3s-kubeconfig"}
    assert [name for name, service in ours.items() if "build" in service] == ["airflow-init"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}


def test_only_this_machine_reaches_what_listens(understood: dict[str, Any]) -> None:
    ports = [port for service in understood["services"].values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["target"] for port in ports} == {8080, 4222}


def test_nobody_has_more_rights_than_he_needs(understood: dict[str, Any]) -> None:
    for name, service in understood["services"].items():
        assert service.get("privileged", False) == (name == "k3s")
        if name not in ROOTS:
            assert service["user"].split(":")[0] not in ("root", "0")
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
        if name in AIRFLOW | {"postgres"}:
            assert service["read_only"]


def test_what_runs_is_looked_at_and_started_again(understood: dict[str, Any]) -> None:
    for name, service in understood["services"].items():
        if name not in ONCE:
            assert service["restart"] == "unless-stopped"
            assert ("healthcheck" in service) != (name in SILENT)


def test_each_starts_when_what_it_needs_is_well(understood: dict[str, Any]) -> None:
    for name, service in understood["services"].items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how["condition"] == expected, (name, needed)
    needs = {name: set(service.get("depends_on", ())) for name, service in understood["services"].items()}
    assert needs["bridge"] == needs["scheduler"] == {"api-server", "nats", "k3s-kubeconfig"}
    assert needs["api-server"] == {"airflow-init"}
    assert needs["airflow-init"] == {"postgres"}


def test_with_a_cluster_of_ones_own_there_is_no_k3s(folder: Path, tmp_path: Path) -> None:
    mine = {"COMPOSE_PROFILES": "", "KUBE_FOLDER": str(tmp_path), "NATS_FOR_PODS": "nats://192.0.2.7:4222"}
    understood = services(folder, **mine)
    assert not {"k3s", "k3s-kubeconfig"} & set(understood["services"])
    bridge = understood["services"]["bridge"]
    assert ("bind", str(tmp_path), "/kube") in [(v["type"], v["source"], v["target"]) for v in bridge["volumes"]]
    assert json.loads(bridge["environment"]["AIRFLOW_CONN_NATS_DEFAULT"])["extra"] == {"pods": "nats://192.0.2.7:4222"}


def test_airflow_is_configured_as_by_up(understood: dict[str, Any]) -> None:
    other = {"AIRFLOW__API__HOST", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"}  # a network, and a user for the bridge
    by_up = {name: value for name, value in airflow.as_variables(airflow.SETTINGS).items() if name not in other}
    for name in AIRFLOW:
        environment = understood["services"][name]["environment"]
        assert by_up == {setting: environment[setting] for setting in by_up}
    bundles = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert bundles == airflow._bundles(Path("/opt/airflow/dags"))
    commands = {name: understood["services"][name]["command"] for name in airflow.COMPONENTS}
    assert commands == {name: ["airflow", name, *options] for name, options in airflow.COMPONENTS.items()}


def test_nats_is_configured_as_by_up(folder: Path, understood: dict[str, Any]) -> None:
    content = understood["configs"]["nats"]["content"]
    assert f"user: {nats.USER}," in content
    assert f'password: "{settings(folder)["NATS_PASSWORD"]}"' in content
    assert "ping_max: 1000000" in content
