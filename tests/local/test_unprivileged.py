"""What PostgreSQL runs as when we are root."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import unprivileged

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-I", "-S", unprivileged.__file__, *command]
    return subprocess.run(start, capture_output=True, text=True, timeout=30, check=False)


def test_the_program_is_not_root() -> None:
    assert run("/usr/bin/id", "-un").stdout == "nobody\n"


def test_the_program_reaches_files_in_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "file").write_text("reached")
    assert run("/bin/cat", str(folder / "file")).stdout == "reached"


def test_the_program_may_not_become_root_again() -> None:
    assert "Operation not permitted" in run(sys.executable, "-c", "import os; os.setuid(0)").stderr


def test_what_is_to_kill_it_with_its_guard_survives_the_change_of_user() -> None:
    get = (
        "import ctypes; got = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(got), 0, 0, 0); print(got.value)"
    )
    outer = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); "
        "os.execv(sys.executable, "
        f"[sys.executable, '-I', '-S', {unprivileged.__file__!r}, sys.executable, '-c', {get!r}])"
    )
    ran = subprocess.run([sys.executable, "-c", outer], capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout == "9\n", ran.stderr
