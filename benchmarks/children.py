"""Measuring in a process of its own: Airflow takes its configuration once, and what it imports stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from kai_airflow.local import airflow
from kai_airflow.local.environment import basis

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, Mapping[str, str]]

PROGRAMS = Path(__file__).with_name("programs")
LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
KRT_BUNDLE = "kai_airflow.bundle.KrtDagBundle"
TAIL = 20  # lines of what a program said before it failed


def command(program: str, *arguments: object) -> tuple[str, ...]:
    """How one of our programs is started."""
    return (sys.executable, "-P", str(PROGRAMS / program), *map(str, arguments))


def environment(home: Path, settings: Settings) -> dict[str, str]:
    """That of an Airflow of one machine, as the stack's is, whose AIRFLOW_HOME is ``home``."""
    variables = airflow.as_variables(airflow.SETTINGS) | airflow.as_variables(settings)
    return {**basis(os.environ), "AIRFLOW_HOME": str(home), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING", **variables}


def bundles(home: Path, folders: Mapping[str, tuple[str, Path]]) -> dict[str, dict[str, str]]:
    """The settings for these bundles: the class and the folder of each, by its name."""
    listed = [
        {"name": name, "classpath": kind, "kwargs": {"path": str(path), "refresh_interval": 5}}
        for name, (kind, path) in folders.items()
    ]
    return {
        "dag_processor": {
            "dag_bundle_storage_path": str(home / "bundles"),
            "dag_bundle_config_list": json.dumps(listed),
        }
    }


def said(words: tuple[str, ...], variables: Mapping[str, str]) -> Any:
    """What a program found: its last line. Raises BenchmarkError where it fails."""
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-TAIL:])
        raise BenchmarkError(f"{Path(words[2]).name} ended with exit code {done.returncode}:\n{last}")
    return json.loads(done.stdout.splitlines()[-1])
