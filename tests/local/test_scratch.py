"""The scratch folder with real processes: it goes with whoever asked for it, and not before who works in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 20.0  # seconds for anything that takes far less when all is well
# Asks for a folder, starts a process that inherits its lock and waits, says which, and waits for ever.
PROGRAM = """
import signal, subprocess, sys
from kai_airflow.local.scratch import scratch
with scratch("test-") as made:
    (made.path / "file").touch()
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=2, pass_fds=[made.lock])
    print(made.path, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place for temporary folders."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_it_is_for_this_user_alone_and_gone_afterwards(temporary: Path) -> None:
    with scratch("test-") as first, scratch("test-") as second:
        assert first.path.parent == second.path.parent == temporary
        assert first.path.stat().st_mode & 0o777 == 0o700
        (first.path / "folder").mkdir()
        (first.path / "folder" / "file").touch()
    assert list(temporary.iterdir()) == []


def test_it_is_gone_after_an_error(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch("test-"):
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_it_outlives_a_killed_process_for_as_long_as_somebody_works_in_it(temporary: Path) -> None:
    workers, held = os.pipe()
    ended, end = os.pipe()
    maker = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=workers, stdout=subprocess.PIPE, stderr=end, text=True
    )
    os.close(workers)
    os.close(end)
    assert maker.stdout is not None
    made = temporary / maker.stdout.readline().strip()
    maker.send_signal(signal.SIGKILL)
    assert maker.wait(DEADLINE) == -signal.SIGKILL
    maker.stdout.close()
    assert (made / "file").exists()  # the worker holds its lock
    os.close(held)
    while os.read(ended, 4096):  # it ends when worker and janitor have ended, whose it is too
        pass
    os.close(ended)
    assert list(temporary.iterdir()) == []
