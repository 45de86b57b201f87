"""What the parts find in their environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kai_airflow.local.environment import basis


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW_CONN_NATS_DEFAULT",
        "PGPASSWORD",
        "NATS_URL",
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
    ],
)
def test_settings_of_the_callers_own_services_do_not_reach_the_parts(name: str) -> None:
    assert name not in basis({name: "the caller's"})


def test_anything_else_does() -> None:
    assert basis({"HTTP_PROXY": "http://proxy", "MY_OWN": "x"}).items() >= {
        ("HTTP_PROXY", "http://proxy"),
        ("MY_OWN", "x"),
    }


def test_programs_of_this_interpreter_come_first() -> None:
    path = basis({"PATH": "/usr/bin"})["PATH"].split(os.pathsep)
    assert path == [str(Path(sys.executable).parent), "/usr/bin"]


def test_without_a_path_there_is_no_empty_entry() -> None:
    assert basis({})["PATH"] == str(Path(sys.executable).parent)  # an empty one would be the current folder


def test_the_virtual_environment_is_this_interpreters() -> None:
    expected = sys.prefix if sys.prefix != sys.base_prefix else None
    assert basis({"VIRTUAL_ENV": "/another"}).get("VIRTUAL_ENV") == expected


def test_parts_never_meet_through_a_proxy() -> None:
    made = basis({"no_proxy": "example.com"})
    assert made["no_proxy"] == "example.com,127.0.0.1,localhost"
    assert made["NO_PROXY"] == "127.0.0.1,localhost"
