"""What Airflow's configuration says, asked in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.site import Site, SiteError, ask_airflow

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = {"conn_type": "nats", "host": "nats.example.com", "login": "kai", "password": "CHANGE-ME"}


@pytest.fixture
def airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Airflow that is configured to a bundle of KRT files, without a database yet; gives the files' folder."""
    folder = tmp_path / "krt"
    bundle = {"name": "krt", "classpath": "kai_airflow.bundle.KrtDagBundle", "kwargs": {"path": str(folder)}}
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("KAI_AIRFLOW_USER", "bridge")
    return folder


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "airflow", *words], check=True, capture_output=True, env=os.environ)


async def test_bundles_settings_and_a_connection_of_the_environment_are_told(
    airflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", json.dumps(CONNECTION))
    monkeypatch.setenv("AIRFLOW__KAI_AIRFLOW__STREAM_MAX_AGE", "3600")
    monkeypatch.setenv("AIRFLOW__KAI_AIRFLOW__MAX_QUEUED_RUNS", "7")
    site = await ask_airflow()
    assert site.folders == (airflow,)
    assert (site.airflow.url, site.airflow.user) == ("https://airflow.example.com", "bridge")
    assert (site.settings.retention.max_age, site.settings.max_queued_runs) == (3600, 7)
    assert "nats.example.com" in str(site.nats)
    assert "CHANGE-ME" not in f"{site!r} {site.nats}"
    assert Site.from_json(site.to_json()) == site


@pytest.mark.usefixtures("airflow")
async def test_a_connection_of_airflows_database_is_found() -> None:
    command("db", "migrate")
    command("connections", "add", "nats_default", "--conn-json", json.dumps(CONNECTION))
    assert "nats.example.com" in str((await ask_airflow()).nats)


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("AIRFLOW__KAI_AIRFLOW__STREAM_MAX_AGE", "a week", "stream_max_age = 'a week'.*Remedy"),
        ("UNUSED", "", "no connection 'nats_default'.*Remedy"),
    ],
)
async def test_what_is_missing_or_senseless_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    if "STREAM" in setting:
        monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", json.dumps(CONNECTION))
    monkeypatch.setenv(setting, value)
    with pytest.raises(SiteError, match=said):
        await ask_airflow()
