"""The whole stack, started once for all tests that only use it, and `kai-airflow up` for those that end it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from kai_airflow.local import airflow, deaths, guard, ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.home import Home, Secrets
from kai_airflow.local.stack import Stack

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

HEALTHY = 180.0  # seconds for a stack to start; about 20 on two idle cores
STOPPED = 40.0  # seconds for everything to end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is below this folder needs the stack."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)
            if item.get_closest_marker("timeout") is None:  # one of its own, or its module's
                item.add_marker(pytest.mark.timeout(HEALTHY + 120))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A healthy stack with a dags folder of its own, ``stack.dags``, empty at first."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "dags").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # Tests kill its parts as often as they like, and don't wait a minute for a killed worker to be noticed.
        patch.setattr(deaths, "TOO_MANY", 1000)
        patch.setattr(deaths, "PAUSES", (0.0,) * 1000)
        patch.setitem(airflow.SETTINGS["scheduler"], "task_instance_heartbeat_timeout", "20")
        with Stack(folder / "dags", folder / "home", ports.free(1)[0]) as running:
            yield running


@pytest.fixture(scope="session")
def api(stack: Stack) -> Iterator[AirflowApi]:
    """The API of ``stack``, logged in."""
    with AirflowApi(stack.url, stack.user, stack.password) as logged_in:
        yield logged_in


class Up:
    """A running ``kai-airflow up``."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.home, self.port = folder / "home", ports.free(1)[0]
        self.lines: list[str] = []
        self.seen: dict[int, str] = {}
        (folder / "dags").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--dags", folder / "dags", "--home", self.home, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, text: str, after: int = 0) -> str:
        """The first line that holds ``text``, ``after`` so many lines, once it is printed."""
        with self._news:
            found = self._news.wait_for(lambda: self._find(text, after) or self.process.poll() is not None, HEALTHY)
            assert found, self.text
            line = self._find(text, after)
        assert line is not None, self.text
        return line

    def api(self) -> AirflowApi:
        """The API of its Airflow, to be entered."""
        return AirflowApi(f"http://127.0.0.1:{self.port}", Stack.user, Secrets.of(Home(self.home)).admin)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def family(self) -> dict[int, str]:
        """The command lines of all processes below it."""
        found = {process: command(process) for process in guard.descendants(self.process.pid)}
        self.seen |= found
        return found

    def guard_of(self, *words: str) -> int:
        """The guard of the part that was started with these words."""
        (found,) = [process for process, line in self.family().items() if guard.__file__ in line and has(line, words)]
        return found

    def send(self, number: signal.Signals, to: int | None = None) -> None:
        """Send a signal, to ``up`` or another process; what runs now is what must be gone afterwards."""
        self.family()
        os.kill(to or self.process.pid, number)

    def code(self) -> int:
        code = self.process.wait(STOPPED)
        self._reader.join()
        return code

    def left(self) -> dict[int, str]:
        """What still runs of all that was seen, when it has had time to end."""
        deadline = time.monotonic() + STOPPED
        while (running := self._running()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return running

    def close(self) -> None:
        self.process.kill()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()

    def _running(self) -> dict[int, str]:
        # What appeared after the last look names the home, or came from what does.
        home = str(self.home)
        new = {int(entry.name) for entry in Path("/proc").glob("[0-9]*") if home in command(int(entry.name))}
        return {process: line for process in self.seen.keys() | new if (line := command(process))}

    def _find(self, text: str, after: int) -> str | None:
        return next((line for line in self.lines[after:] if text in line), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


COMMAND = [Path(sysconfig.get_path("scripts")) / "kai-airflow"]


def command(process: int) -> str:
    """A process's command line, empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def has(line: str, words: tuple[str, ...]) -> bool:
    return " ".join(words) in line


class StartUp(Protocol):
    """Start ``kai-airflow up`` with these additions to the environment."""

    def __call__(self, **environment: str) -> Up: ...


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Starts ``kai-airflow up`` with a home and a dags folder of the test's own; killed after the test if need be."""
    with starting(tmp_path) as start:
        yield start


@contextmanager
def starting(folder: Path) -> Iterator[StartUp]:
    """Starts ``kai-airflow up`` with its home and dags in this folder; nothing of it is left afterwards."""
    started: list[Up] = []

    def start(**environment: str) -> Up:
        started.append(Up(folder, **environment))
        return started[-1]

    yield start
    for up in started:
        up.close()
        assert not up.left()
