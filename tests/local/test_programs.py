"""Where the programs of the extra are."""

from __future__ import annotations

import subprocess

import pytest

from kai_airflow.local import programs
from kai_airflow.local.errors import StackError


def test_the_extra_is_complete_here() -> None:
    programs.require_extra()


def test_a_missing_distribution_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "DISTRIBUTIONS", ("rich", "kai-airflow-absent"))
    with pytest.raises(StackError, match=r"^kai-airflow-absent not installed.*pip install 'kai-airflow\[local\]'"):
        programs.require_extra()


@pytest.mark.parametrize("program", ["postgres", "initdb"])
def test_postgresql_is_found_and_runs(program: str) -> None:
    said = subprocess.run([programs.postgres(program), "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"{program} (PostgreSQL) 18.")


def test_nats_server_is_found_and_runs() -> None:
    said = subprocess.run([programs.nats_server(), "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("nats-server: v2.")


def test_a_program_that_is_missing_is_named_with_its_place() -> None:
    with pytest.raises(StackError, match=r"pginstall18/bin/absent\. Remedy: pip install --force-reinstall"):
        programs.postgres("absent")
