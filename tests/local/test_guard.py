"""The guard with real processes: nothing that a part started outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 20.0  # seconds for anything that a test waits for
PATIENCE = 60.0  # seconds of grace where the test is about something that must not need them
# Says its process id, then waits for ever.
WAIT = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
# Starts a process in a session of its own, says its id, then goes on.
FORK = (
    "import subprocess, sys; "
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True); "
    "print(child.pid, flush=True)"
)


class Guarded:
    """A guard around a Python program, with its lifeline in the test's hand."""

    def __init__(self, command: list[str], grace: float, stop_signal: signal.Signals) -> None:
        lifeline, self._held = os.pipe()
        how = ["--lifeline", str(lifeline), "--stop-signal", str(int(stop_signal)), "--grace", str(grace)]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *how, "--", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lifeline],
            start_new_session=True,
        )
        os.close(lifeline)

    def said(self) -> str:
        """The next line that the program prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def cut_the_lifeline(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def code(self) -> int:
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        self.cut_the_lifeline()
        self.process.kill()
        self.process.communicate()


@contextmanager
def guarded(
    program: str | list[str], *, grace: float = PATIENCE, stop_signal: signal.Signals = signal.SIGTERM
) -> Iterator[Guarded]:
    command = program if isinstance(program, list) else [sys.executable, "-c", program]
    running = Guarded(command, grace, stop_signal)
    try:
        yield running
    finally:
        running.close()


def gone(process: int) -> bool:
    """Whether the process ends; one that has ended and isn't collected yet counts."""
    deadline = time.monotonic() + DEADLINE
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize("code", [0, 3])
def test_ends_with_the_exit_code_of_the_part(code: int) -> None:
    with guarded(f"raise SystemExit({code})") as running:
        assert running.code() == code


def test_tells_the_signal_that_ended_the_part() -> None:
    with guarded("import os; os.abort()") as running:
        assert running.code() == 128 + signal.SIGABRT


def test_names_a_program_that_is_missing() -> None:
    with guarded(["/no/such/program"]) as running:
        assert running.said() == "can't start /no/such/program: No such file or directory"
        assert running.code() == 127


def test_passes_its_own_stop_signal_to_the_part() -> None:
    polite = f"import sys, signal; signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); {WAIT}"
    with guarded(polite, stop_signal=signal.SIGINT) as running:
        running.said()
        running.process.terminate()
        assert running.code() == 7


def test_kills_a_part_that_does_not_stop_within_its_grace() -> None:
    with guarded(STUBBORN, grace=0.2) as running:
        part = int(running.said())
        running.process.terminate()
        assert running.code() == 128 + signal.SIGKILL
        assert not alive(part)


def test_ends_the_part_when_nobody_holds_the_lifeline() -> None:
    with guarded(WAIT) as running:
        part = int(running.said())
        running.cut_the_lifeline()
        assert running.code() == 128 + signal.SIGTERM
        assert not alive(part)


def test_does_not_grant_a_long_grace_when_nobody_holds_the_lifeline() -> None:
    with guarded(STUBBORN) as running:
        part = int(running.said())
        began = time.monotonic()
        running.cut_the_lifeline()
        running.code()
        assert not alive(part)
        assert time.monotonic() - began < PATIENCE / 2


def test_ends_what_a_part_left_in_a_session_of_its_own() -> None:
    with guarded(FORK) as running:
        left = int(running.said())
        assert running.code() == 0
        assert not alive(left)


def test_ends_the_children_of_a_part_that_is_killed() -> None:
    with guarded(f"{FORK}; {WAIT}") as running:
        left, part = int(running.said()), int(running.said())
        os.kill(part, signal.SIGKILL)
        assert running.code() == 128 + signal.SIGKILL
        assert not alive(left)


def test_the_part_dies_with_a_guard_that_is_killed() -> None:
    with guarded(STUBBORN) as running:
        part = int(running.said())
        running.process.kill()
        assert gone(part)


def test_the_part_gets_no_open_file_of_its_guard() -> None:
    with guarded("import os; print(len(os.listdir('/proc/self/fd')))") as running:
        # Standard input, output, error, and the folder that is being listed.
        assert running.said() == "4"


def test_the_part_is_out_of_reach_of_the_terminal() -> None:
    with guarded("import os; print(os.getsid(0) == os.getpid(), os.getsid(0))") as running:
        own, session = running.said().split()
        assert own == "True"
        assert int(session) != os.getsid(0)


def test_a_part_gets_the_default_handling_of_signals() -> None:
    with guarded("import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)") as running:
        assert running.said() == "True"
