"""The stack's Airflow: its configuration, all of it in the environment, and its parts."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from kai_airflow.local import nats, ports, postgres
from kai_airflow.local.home import write_private
from kai_airflow.local.supervisor import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kai_airflow.local.home import Home, Secrets

USER = "admin"
MIGRATION = "airflow-db"
NOBODY_LISTENS = "1"  # a port that no server of today has
TASKS = 8  # at a time; one that waits for its pod needs memory rather than a core
GRACE = 3.0  # seconds; the scheduler would wait for its tasks, whatever they wait for

# What differs from Airflow's defaults whatever the home; the defaults are made for clusters.
SETTINGS: dict[str, dict[str, str]] = {
    "core": {
        "executor": "LocalExecutor",
        "parallelism": str(TASKS),
        "load_examples": "False",
        "dags_are_paused_at_creation": "False",
        "simple_auth_manager_users": f"{USER}:admin",
        # A changed file is a changed DAG now, not in half a minute.
        "min_serialized_dag_update_interval": "1",
        # The default looks this machine's name up, for seconds where nobody knows it.
        "hostname_callable": "socket.gethostname",
    },
    "api": {"host": ports.HOST, "workers": "1"},
    "scheduler": {
        "scheduler_idle_sleep_time": "0.25",
        # After a restart, tasks of the stack's former life are looked for soon.
        "orphaned_tasks_check_interval": "30",
        "task_instance_heartbeat_timeout": "60",
    },
    "workers": {
        # Two cores that start several processes at once answer late.
        "execution_api_timeout": "30",
    },
    "dag_processor": {"bundle_refresh_check_interval": "1"},
    "logging": {
        "colored_console_log": "False",
        # Logs are read from their files. Airflow's log servers would listen to the whole network, so they are off,
        # and what asks them first hears at once, and doesn't say so, that they are.
        "worker_log_server_port": NOBODY_LISTENS,
        "trigger_log_server_port": NOBODY_LISTENS,
        "namespace_levels": "airflow.utils.log.file_task_handler=CRITICAL",
    },
}

COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}


@dataclass(frozen=True)
class Addresses:
    """The absolute dags folder, and the ports of the stack's servers."""

    dags: Path
    ui: int
    postgres: int
    nats: int
    kubernetes: int
    ingress: int


def environment(basis: Mapping[str, str], home: Home, secrets: Secrets, addresses: Addresses) -> dict[str, str]:
    """All that an ``airflow`` command needs to work with the stack: ``basis`` and the configuration."""
    return {
        **basis,
        "AIRFLOW_HOME": str(home.airflow),
        **as_variables(SETTINGS),
        **as_variables(_settings(home, secrets, addresses)),
        **connections(home, addresses.nats, secrets.nats),
    }


def as_variables(settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Airflow's configuration, by section and key, as its environment variables."""
    return {
        f"AIRFLOW__{section.upper()}__{key.upper()}": value
        for section, options in settings.items()
        for key, value in options.items()
    }


def _settings(home: Home, secrets: Secrets, addresses: Addresses) -> dict[str, dict[str, str]]:
    url = ui(addresses.ui)
    return {
        "core": {
            "dags_folder": str(addresses.dags),
            "simple_auth_manager_passwords_file": str(_passwords(home)),
            "fernet_key": secrets.fernet,
            "execution_api_server_url": f"{url}/execution/",
        },
        "api": {"port": str(addresses.ui), "base_url": url, "secret_key": secrets.api},
        "api_auth": {"jwt_secret": secrets.jwt},
        "database": {"sql_alchemy_conn": database_url(secrets, addresses.postgres, "postgresql+psycopg2")},
        "dag_processor": {
            "dag_bundle_storage_path": str(home.airflow / "bundles"),
            "dag_bundle_config_list": json.dumps(_bundles(addresses.dags)),
        },
    }


def _bundles(dags: Path) -> list[dict[str, Any]]:
    where = {"path": str(dags), "refresh_interval": 2}
    return [
        {"name": "krt", "classpath": "kai_airflow.bundle.KrtDagBundle", "kwargs": where},
        {
            "name": "dags-folder",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": where,
        },
    ]


def connections(home: Home, port: int, password: str) -> dict[str, str]:
    """What tasks talk to, as environment variables: the local Kubernetes API, and NATS on this port."""
    extra = {"kube_config_path": str(home.kubeconfig), "namespace": "default"}
    where = {"conn_type": "nats", "host": ports.HOST, "port": port}
    return {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps({"conn_type": "kubernetes", "extra": extra}),
        "AIRFLOW_CONN_NATS_DEFAULT": json.dumps({**where, "login": nats.USER, "password": password}),
    }


def database_url(secrets: Secrets, port: int, driver: str = "postgresql") -> str:
    """The address of the stack's database, password included."""
    return f"{driver}://{postgres.USER}:{secrets.postgres}@{ports.HOST}:{port}/{postgres.DATABASE}"


def _passwords(home: Home) -> Path:
    return home.airflow / "passwords.json"


def write_passwords(home: Home, secrets: Secrets) -> None:
    """Tell Airflow's SimpleAuthManager the password; without this file it makes one up and prints it in its log."""
    write_private(_passwords(home), json.dumps({USER: secrets.admin}))


def migration(variables: Mapping[str, str], rank: int) -> Part:
    """The command that makes Airflow's tables, or brings them up to date."""
    return Part(MIGRATION, _airflow("db", "migrate"), variables, rank)


def components(variables: Mapping[str, str], rank: int) -> list[Part]:
    """Airflow's parts."""
    return [Part(name, _airflow(name, *options), variables, rank, GRACE) for name, options in COMPONENTS.items()]


def _airflow(*arguments: str) -> tuple[str, ...]:
    # -P: a folder "airflow" where the stack is started isn't the package.
    return (sys.executable, "-P", "-m", "airflow", *arguments)


def ui(port: int) -> str:
    """The address of the UI and of the API."""
    return f"http://{ports.HOST}:{port}"


async def well(port: int, since: datetime) -> set[str]:
    """Which parts are well, as the API server says; one that was last heard of before ``since`` isn't.

    A stopped stack's parts count as alive for half a minute, hence ``since``. The API server itself is well when it
    also answers tasks, which takes it seconds the first time: they are spent here, and not by the first task.
    """
    try:
        async with httpx.AsyncClient(base_url=ui(port), timeout=30, trust_env=False) as client:
            health, execution = await client.get("/api/v2/monitor/health"), await client.get("/execution/health")
    except httpx.TransportError:
        return set()
    if not (health.is_success and execution.is_success):
        return set()
    said = health.json()
    return {"api-server"} | {name for name in COMPONENTS if _alive(said, name.replace("-", "_"), since)}


def _alive(said: Mapping[str, Any], job: str, since: datetime) -> bool:
    about = said.get(job) or {}
    heard = about.get(f"latest_{job}_heartbeat")
    return about.get("status") == "healthy" and heard is not None and datetime.fromisoformat(heard) >= since
