"""The bundle in Airflow's own hands: its manager, its file discovery, its DagBag."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from kai_airflow.bundle import KrtDagBundle
from kai_airflow.bundle.mirror import YOUNG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.dag_processing.bundles.base import BaseDagBundle

MANY = 1000

LIST = """
import json, sys
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.utils.file import list_py_file_paths
bundle = DagBundlesManager().get_bundle("krt")
bundle.initialize()
print(json.dumps([path[len(str(bundle.path)) + 1:] for path in sorted(list_py_file_paths(bundle.path))]))
"""
PARSE = """
import json, sys
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization
bundle = DagBundlesManager().get_bundle("krt")
bundle.initialize()
bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name="krt")
dags = {dag.dag_id: DagSerialization.to_dict(dag) for dag in bag.dags.values()}
print("\\n" + json.dumps({"dags": dags, "errors": bag.import_errors}, sort_keys=True))
"""


class Write(Protocol):
    def __call__(self, path: str, content: str | bytes = ...) -> Path: ...


@pytest.fixture
def airflow(environment: dict[str, str]) -> Callable[..., Any]:
    """Run a program in an Airflow that has LocalDagBundle and KrtDagBundle; its last line is JSON."""
    bundles = [
        {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
        {"name": "krt", "classpath": "kai_airflow.bundle.KrtDagBundle", "kwargs": {"refresh_interval": 5}},
    ]
    environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles)

    def run(program: str, **settings: str) -> Any:
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, env=environment | settings, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    return run


@pytest.fixture
def bundle(tmp_path: Path, dags: Path, monkeypatch: pytest.MonkeyPatch) -> KrtDagBundle:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(dags))
    return KrtDagBundle(name="krt")


def test_by_default_it_follows_airflows_dags_folder(bundle: KrtDagBundle, write: Write) -> None:
    write("a/krt.yaml")
    bundle.initialize()
    assert (bundle.path / "a/krt.yaml.py").exists()
    assert bundle.is_initialized


def test_it_has_no_versions(bundle: KrtDagBundle) -> None:
    plain: BaseDagBundle = bundle
    assert plain.get_current_version() is None
    assert not bundle.supports_versioning


def test_making_one_touches_nothing(bundle: KrtDagBundle, tmp_path: Path) -> None:
    """Airflow makes bundles only to look at them, in processes of all kinds."""
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize("path", ["krts", "./krts", "~/krts"])
def test_a_path_may_be_relative_or_begin_at_home(
    path: str, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch, bundle: KrtDagBundle
) -> None:
    write("krts/a/krt.yaml")
    monkeypatch.setenv("HOME", str(tmp_path / "dags"))
    monkeypatch.chdir(tmp_path / "dags")
    other = KrtDagBundle(name="other", path=path)
    monkeypatch.chdir("/")
    other.refresh()
    assert (other.path / "a/krt.yaml.py").exists()


def test_a_missing_folder_is_a_warning(bundle: KrtDagBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = KrtDagBundle(name="missing", path=tmp_path / "missing")
    with caplog.at_level(logging.WARNING):
        missing.initialize()
    assert f"{tmp_path / 'missing'} doesn't exist: create it, or give the bundle another path" in caplog.text


def test_the_unchanged_pass_takes_no_lock(bundle: KrtDagBundle, write: Write) -> None:
    """Held by a lock that somebody else has: a pass that wanted it would wait until this test's timeout."""
    write("a/krt.yaml")
    settle(bundle)
    with KrtDagBundle(name="krt").lock():
        bundle.initialize()


def settle(bundle: KrtDagBundle) -> None:
    """Refresh until the files are old enough for their times to tell all."""
    deadline = time.monotonic() + 20
    bundle.refresh()
    while any(path.stat().st_mtime_ns == YOUNG for path in bundle.path.glob("*/krt.yaml")):
        assert time.monotonic() < deadline
        time.sleep(0.1)  # a file's age is announced by no event
        bundle.refresh()


@pytest.mark.skipif(os.geteuid() != 0, reason="being another user takes root")
def test_a_user_who_may_only_read_takes_the_files_as_they_are(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A task with run_as_user: the dag-processor's user has made the files."""
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(open_folder / "bundles"))
    dags = open_folder / "dags"
    dags.mkdir()
    (dags / "krt.yaml").write_text("version: v1.0.0")
    KrtDagBundle(name="krt", path=dags).initialize()
    (dags / "krt.yaml").write_text("version: v2.0.0")
    os.seteuid(65534)
    try:
        bundle = KrtDagBundle(name="krt", path=dags)
        bundle.initialize()
        assert (bundle.path / "krt.yaml").read_text() == "version: v1.0.0"
    finally:
        os.seteuid(0)
    assert "can't be brought up to date: " in caplog.text


def test_a_thousand_files_unchanged_cost_little(bundle: KrtDagBundle, write: Write) -> None:
    """About 60 ms on 2 cores; the limit leaves room for a busy machine."""
    for number in range(MANY):
        write(f"p{number}/krt.yaml")
    settle(bundle)
    assert min(timed(bundle) for _ in range(5)) < 0.5


def timed(bundle: KrtDagBundle) -> float:
    start = time.perf_counter()
    bundle.initialize()
    return time.perf_counter() - start


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_airflow_finds_the_modules_and_opens_no_document(
    airflow: Callable[..., Any], write: Write, syntax: str
) -> None:
    """A document that is a zip archive would have its members read by the dag-processor, whatever their size."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("dag.py", "airflow dag")
    write("archive/krt.yaml", archive.getvalue())
    write("x.krt.yaml", archive.getvalue())
    write("good/krt.yaml")
    write("folder.yaml/krt.yaml")
    write("krt.yaml.d/krt.yaml")
    found = airflow(LIST, AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=syntax)
    folders = ("archive", "folder.yaml", "good", "krt.yaml.d")
    assert found == [*(f"{folder}/krt.yaml.py" for folder in folders), "x.krt.yaml.py"]


def test_a_folder_may_bear_a_documents_name(airflow: Callable[..., Any], write: Write) -> None:
    write("krt.yaml/x.krt.yaml/krt.yaml")
    assert airflow(LIST) == ["krt.yaml/x.krt.yaml/krt.yaml.py"]


def test_dags_and_import_errors_of_their_own(airflow: Callable[..., Any], write: Write, tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    code = f"open({str(executed)!r}, 'w')"
    write("good/krt.yaml")
    write("named.krt.yaml")
    write("broken/krt.yaml", "version: v1.0.0\ndescription: broken\nworkflows:\n- name: a\n  type: wrong\n")
    write("tabs/krt.yaml", "version: v1.0.0\n\tdescription: tab\n")
    write("binary/krt.yaml", bytes(range(256)))
    write("a'\"\n/krt.yaml")
    write("hostile/krt.yaml", f"version: v1.0.0\r{code}\x0c\n{code}\u2028{code}\x85{code}\\\n{code}\n")
    write("tagged/krt.yaml", f'!!python/object/apply:eval ["{code}"]')
    result = airflow(PARSE)
    assert set(result["dags"]) == {"good.work", "named.work"}
    errors = result["errors"]
    assert set(errors) == {
        f"{name}/krt.yaml.py" for name in ("broken", "tabs", "binary", "a'\"\n", "hostile", "tagged")
    }
    assert "KrtError: broken/krt.yaml: 2 errors\n" in errors["broken/krt.yaml.py"]
    assert "\n  5:9: 'wrong' is no type of a workflow" in errors["broken/krt.yaml.py"]
    assert "krt.workflows[0].type" in errors["broken/krt.yaml.py"]
    assert "hunter2" not in json.dumps(result)
    assert not executed.exists()


def test_two_processes_serialize_a_dag_to_the_same_bytes(airflow: Callable[..., Any], write: Write) -> None:
    write("good/krt.yaml")
    first, second = (airflow(PARSE, PYTHONHASHSEED=seed)["dags"] for seed in ("1", "2"))
    assert first
    assert json.dumps(first) == json.dumps(second)
