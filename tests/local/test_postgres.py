"""The stack's PostgreSQL, really started, after one that was killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import ports, postgres
from kai_airflow.local.home import write_private
from kai_airflow.local.supervisor import Supervisor
from kai_airflow.local.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 60.0  # seconds


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def another(tmp_path: Path) -> Iterator[int]:
    """A program that runs as PostgreSQL does, elsewhere."""
    command = [*postgres.as_user(), sys.executable, "-c", "import signal; print('runs', flush=True); signal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"
        yield process.pid
        process.kill()


def note(data: Path, process: int) -> None:
    (data / "postmaster.pid").write_text(f"{process}\n{data}\n1795629083\n5432\n\n127.0.0.1\n")


async def test_starts_though_another_program_has_the_process_id_of_one_that_was_killed(
    data: Path, another: int, tmp_path: Path
) -> None:
    (port,) = ports.free(1)
    password = tmp_path / "password"
    write_private(password, "secret")
    postgres.make_folder(data)
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        await supervisor.run(postgres.creation(data, password, os.environ, 0))
        note(data, another)
        assert postgres.is_free(data)
        await supervisor.start(postgres.part(data, port, os.environ, 0))
        url = f"postgresql://{postgres.USER}:secret@127.0.0.1:{port}/{postgres.DATABASE}"
        await until("PostgreSQL", lambda: postgres.answers(url), DEADLINE)
        assert not postgres.is_free(data)
        assert (data / "postmaster.pid").exists()
    assert not await postgres.answers(url)


@pytest.mark.parametrize("content", ["", "2147483646\n", "1\n"])
def test_what_is_noted_of_no_postgresql_is_removed(data: Path, content: str) -> None:
    data.mkdir()
    (data / "postmaster.pid").write_text(content)
    assert postgres.is_free(data)
    assert not (data / "postmaster.pid").exists()


def test_data_without_a_note_are_free(data: Path) -> None:
    assert postgres.is_free(data)
