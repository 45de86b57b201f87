"""What many tests share: a real nats-server."""

from __future__ import annotations

import re
import signal
import subprocess
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from kai_airflow.messaging.connection import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kai_airflow.messaging.connection import Connection

LISTENING = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")
DEADLINE = 20.0  # seconds for the server to start or stop; it takes about 30 ms


class NatsServer:
    """A nats-server with JetStream in a folder of its own, on a free port that it keeps over restarts."""

    def __init__(self, folder: Path, config: str = "", *, jetstream: bool = True) -> None:
        self.folder = folder
        self.port = -1
        self.output: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._arguments = ["--jetstream", "--store_dir", str(folder / "store")] if jetstream else []
        (folder / "nats.conf").write_text(config)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again after ``kill`` or ``stop``: same port, same store."""
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        address = ["--addr", "127.0.0.1", "--port", str(self.port)]
        self._ready.clear()
        self._process = subprocess.Popen(
            [program, *address, *self._arguments, "--config", self.folder / "nats.conf"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        assert self._ready.wait(DEADLINE), "".join(self.output)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(DEADLINE)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = self._reader = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)
            if found := LISTENING.search(line):  # its ports file may come later than "ready"
                self.port = int(found[1])
            if "Server is ready" in line:
                self._ready.set()


class StartNats(Protocol):
    """Start another nats-server: ``start_nats(config_text, jetstream=False)``."""

    def __call__(self, config: str = "", *, jetstream: bool = True) -> NatsServer: ...


@pytest.fixture
def start_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNats]:
    """Starts nats-servers of the test's own; all of them are stopped after it."""
    servers: list[NatsServer] = []

    def start(config: str = "", *, jetstream: bool = True) -> NatsServer:
        server = NatsServer(tmp_path_factory.mktemp("nats"), config, jetstream=jetstream)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def nats_server(start_nats: StartNats) -> NatsServer:
    """A running nats-server, empty."""
    return start_nats()


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to ``nats_server``."""
    async with connect(nats_server.url, name="test") as connected:
        yield connected
