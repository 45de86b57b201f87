"""Stopping a stack from outside, with a real supervisor in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import guard, remains, stopping
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, locked
from kai_airflow.local.stopping import Stopped, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 20.0  # seconds
# A part with a child in a session of its own, under a supervisor that holds the home's lock.
UP = """
import asyncio, os, pathlib, signal, sys
from kai_airflow.local.home import Home, locked
from kai_airflow.local.supervisor import Part, Supervisor

PART = '''
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print("runs", flush=True)
signal.pause()
'''

async def main(home, lock):
    async with Supervisor(home.logs, keep=(lock,)) as supervisor:
        await supervisor.start(Part("part", (sys.executable, "-c", PART), {"PATH": os.environ["PATH"]}))
        while not supervisor.log("part").read_text():
            await asyncio.sleep(0.01)
        print("up", flush=True)
        await asyncio.Event().wait()

signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "deaf" else signal.default_int_handler)
home = Home(pathlib.Path(sys.argv[1]))
with locked(home) as lock:
    asyncio.run(main(home, lock))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.make()
    yield made
    remains.kill(made.logs)


def start(home: Home, how: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", UP, str(home.path), how]
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert up.stdout is not None
    assert up.stdout.readline() == "up\n"
    return up


def ended(up: subprocess.Popen[str]) -> int:
    with up:
        return up.wait(DEADLINE)


class Slow:
    """Counts how often it is told that it takes a while."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_a_stack_that_runs_is_asked_to_stop_and_waited_for(home: Home) -> None:
    up = start(home)
    assert len(remains.processes(home.logs)) == 3  # guard, part, child
    assert stop(home, Slow()) == Stopped(ran=True, left=0)
    assert remains.processes(home.logs) == set()
    assert up.poll() is not None
    ended(up)


def test_where_none_runs_nothing_is_done(home: Home) -> None:
    with locked(home):
        pass
    assert stop(home, Slow()) == Stopped(ran=False, left=0)


def test_a_folder_that_holds_no_stack_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"absent: no stack was ever kept here\. Remedy: .*--home"):
        stop(Home(tmp_path / "absent"), Slow())
    assert not (tmp_path / "absent").exists()


def test_what_a_killed_up_left_ends_by_itself_and_is_waited_for(home: Home) -> None:
    up = start(home)
    up.kill()
    ended(up)
    stop(home, Slow())
    assert remains.processes(home.logs) == set()


def test_what_killed_guards_left_is_ended(home: Home) -> None:
    up = start(home)
    guarding = guard.descendants(up.pid)[0]
    os.kill(up.pid, signal.SIGKILL)
    os.kill(guarding, signal.SIGKILL)
    ended(up)
    found = stop(home, Slow())
    assert found.left >= 1  # the child; the part dies with its guard
    assert remains.processes(home.logs) == set()


def test_an_up_that_does_not_listen_is_killed_after_a_while_which_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "SOON", 0.1)
    monkeypatch.setattr(stopping, "PATIENCE", 0.1)
    up, slow = start(home, "deaf"), Slow()
    assert stop(home, slow).ran
    assert ended(up) == -signal.SIGKILL
    assert slow.times == 1
    assert remains.processes(home.logs) == set()


def test_a_guard_that_hangs_is_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LEFTOVERS", 0.2)
    up = start(home)
    os.kill(guard.descendants(up.pid)[0], signal.SIGSTOP)
    up.kill()
    ended(up)
    assert stop(home, Slow()).ran
    assert remains.processes(home.logs) == set()


def test_another_program_that_has_the_id_of_a_killed_up_is_left_alone(home: Home) -> None:
    up = start(home)
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as other:
        up.kill()
        ended(up)
        home.lock.write_text(str(other.pid))  # while what lingers holds the lock
        assert stop(home, Slow()).left == 0
        assert other.poll() is None
        other.kill()


def test_this_program_may_have_the_id_of_a_killed_up(home: Home) -> None:
    up = start(home)
    up.kill()
    ended(up)
    home.lock.write_text(str(os.getpid()))
    assert stop(home, Slow()).left == 0


def test_processes_of_another_home_are_left_alone(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.make()
    with locked(other):
        pass
    up = start(home)
    running = remains.processes(home.logs)
    assert stop(other, Slow()) == Stopped(ran=False, left=0)
    assert remains.processes(home.logs) == running
    stop(home, Slow())
    ended(up)
