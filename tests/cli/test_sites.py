"""Where commands find KRT files where Airflow has no bundle of them."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from kai_airflow.bridge.site import SiteError
from kai_airflow.cli import sites
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, locked

NATS = {"conn_type": "nats", "host": "nats.example.com"}


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow whose bundles hold no KRT files."""
    folder = {"name": "own", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([folder]))
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", json.dumps(NATS))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("bundles")
async def test_without_a_bundle_of_krt_files_their_folder_must_be_named() -> None:
    with pytest.raises(SiteError, match=r"no KrtDagBundle.*--dags"):
        await sites.site(Namespace(home=None, dags=None))


async def test_a_stack_that_has_ended_is_no_site(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(StackError, match=r"no stack was ever kept here"):
        await sites.site(Namespace(home=tmp_path, dags=None))
    home.make()
    home.lock.touch()
    home.site.write_text("of a former life")
    with pytest.raises(StackError, match=r"no stack runs here, or it is still starting\. Remedy: `kai-airflow up"):
        await sites.site(Namespace(home=tmp_path, dags=None))
    home.site.unlink()
    with locked(home), pytest.raises(StackError, match=r"still starting"):
        await sites.site(Namespace(home=tmp_path, dags=None))


@pytest.mark.usefixtures("bundles")
async def test_a_folder_that_is_named_takes_the_place_of_bundles(tmp_path: Path) -> None:
    found = await sites.site(Namespace(home=None, dags=Path("krt")))
    assert found.folders == (tmp_path / "krt",)
    assert "nats.example.com" in str(found.nats)
