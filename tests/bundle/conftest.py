"""Folders for bundles."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

from kai_airflow.bundle.mirror import Mirror

VALID = """\
version: v1.0.0
description: 'one workflow'
workflows:
  - name: {name}
    type: training
    processes:
      - name: start
        image: registry/start:v1
        type: trigger
        config: {{github_secret: hunter2}}
        resourceLimits: {{CPU: {{request: 100m}}, memory: {{request: 100M}}}}
      - name: end
        image: registry/end:v1
        type: exit
        subscriptions: [start]
        resourceLimits: {{CPU: {{request: 100m}}, memory: {{request: 100M}}}}
"""


class Write(Protocol):
    """Write a file below the dags folder: ``write("a/krt.yaml", text)``; without content, a valid KRT."""

    def __call__(self, path: str, content: str | bytes = ...) -> Path: ...


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """The user's folder of KRT files."""
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def write(dags: Path) -> Write:
    """Writes files below ``dags``."""

    def write(path: str, content: str | bytes = VALID.format(name="work")) -> Path:
        file = dags / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


@pytest.fixture
def mirror(tmp_path: Path, dags: Path) -> Mirror:
    """A folder of generated files that follows ``dags``; not made yet."""
    return Mirror(dags, tmp_path / "generated")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="kai-airflow-bundle-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def environment(tmp_path: Path, dags: Path) -> dict[str, str]:
    """The environment of an Airflow of the test's own, whose dags folder is ``dags``."""
    return os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "bundles"),
    }
