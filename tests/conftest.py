"""What many tests share: a real nats-server, processes of a workflow on it, an AIRFLOW_HOME of their own."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml
from nats.js.api import ConsumerConfig, DeliverPolicy

from kai_airflow.messaging.codec import Json, Message, decode, encode, pack
from kai_airflow.messaging.connection import connect, flush
from kai_airflow.messaging.streams import ensure_buckets, ensure_live_stream
from kai_airflow.plan import names

# Whether there is an engine for containers on this machine is no matter, but where a test asks for it.
os.environ["KAI_AIRFLOW_ENGINE"] = "none"

# Before anything imports Airflow, which makes its home at once.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="kai-airflow-tests-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from nats.aio.subscription import Subscription

    from kai_airflow.messaging.connection import Connection

LISTENING = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")
DEADLINE = 20.0  # seconds for anything that takes far less when all is well


def wait_until_stopped(process: int) -> None:
    """After SIGSTOP the threads of a process run on for a moment; nothing but their states tells when it is over."""
    deadline = time.monotonic() + DEADLINE
    while any(state(thread) not in "Tt" for thread in Path(f"/proc/{process}/task").iterdir()):
        assert time.monotonic() < deadline


def state(thread: Path) -> str:
    """Its letter in ps."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


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
        self._configure(config)

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

    def pause(self) -> None:
        """Have the server do nothing from now on, until ``go_on``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        wait_until_stopped(self._process.pid)

    def go_on(self) -> None:
        """Have it do what came meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self, config: str) -> None:
        """Crash and start again with another configuration."""
        self.kill()
        self._configure(config)
        self.start()

    def reload(self, config: str) -> None:
        """Have it take another configuration while it runs; whom it no longer knows it throws out."""
        assert self._process is not None
        self._configure(config)
        self._process.send_signal(signal.SIGHUP)

    def _configure(self, config: str) -> None:
        (self.folder / "nats.conf").write_text(config)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.send_signal(how)
        self.go_on()  # where it was paused, it doesn't end otherwise
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


LIVE_STREAM = names.live_stream("shop", "v1.0.0", "train")


class Program:
    """A program that was started, and what it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._process = process
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def said(self, text: str) -> str:
        """The first line with this text in it, awaited."""
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: self._find(text) or self._reading.done())
        found = self._find(text)
        assert found, f"{text!r} not in {self.lines}"
        return found

    def logged(self) -> list[dict[str, Any]]:
        """Its lines, each as the JSON object that it is."""
        return [json.loads(line) for line in self.lines]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def pause(self) -> None:
        """Have it do nothing from now on, until SIGCONT."""
        self.signal(signal.SIGSTOP)
        wait_until_stopped(self._process.pid)

    async def ended(self) -> int:
        """Its exit code, awaited."""
        async with asyncio.timeout(DEADLINE):
            code = await self._process.wait()
            await self._reading
        return code

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()

    def _find(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self.lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


@dataclass
class LiveWorkflow:
    """The workflow shop/train v1.0.0 on KAI's own subjects: its stream and buckets, and processes started on them."""

    connection: Connection
    url: str
    folder: Path
    stream: names.Stream = LIVE_STREAM
    programs: list[Program] = field(default_factory=list)

    async def prepare(self, processes: Iterable[str]) -> None:
        await ensure_live_stream(self.connection, self.stream, processes)
        for process in processes:
            await ensure_buckets(self.connection.js, self.buckets(process).values())

    async def consumer(self, subscription: str, process: str, **settings: Any) -> None:
        """Make beforehand the consumer that a process binds to, as the KAI reference has it."""
        subject = names.input_subject(self.stream, subscription)
        name = names.consumer(subject, process)
        config = ConsumerConfig(
            durable_name=name,
            deliver_group=name,
            deliver_subject=f"_INBOX.{name}",
            deliver_policy=DeliverPolicy.NEW,
            ack_wait=22 * 3600,
            filter_subject=subject,
            **settings,
        )
        await self.connection.js.add_consumer(self.stream, config)

    def buckets(self, process: str) -> dict[str, names.Bucket]:
        return {
            "global": names.global_bucket("shop"),
            "product": names.version_bucket("shop", "v1.0.0"),
            "workflow": names.workflow_bucket("shop", "v1.0.0", "train"),
            "process": names.process_bucket("shop", "v1.0.0", "train", process),
        }

    def app(self, process: str, subscriptions: Sequence[str], **config: str) -> dict[str, Any]:
        """What app.yaml holds for a process."""
        inputs = [names.input_subject(self.stream, subscription) for subscription in subscriptions]
        buckets: dict[str, Any] = {scope: {"bucket": name} for scope, name in self.buckets(process).items()}
        buckets["process"]["config"] = config
        return {
            "metadata": {
                "product_id": "shop",
                "version_tag": "v1.0.0",
                "workflow_name": "train",
                "workflow_type": "training",
                "process_name": process,
                "process_type": "task",
            },
            "nats": {
                "url": self.url,
                "stream": str(self.stream),
                "output": str(names.output_subject(self.stream, process)),
                "inputs": [str(subject) for subject in inputs],
            },
            "centralized_configuration": buckets,
            "minio": {"endpoint": "m", "client_user": "u", "client_password": "p", "ssl": False, "bucket": "b"},
            "auth": {"endpoint": "a", "client": "c", "client_secret": "s", "realm": "r"},
            "predictions": {"endpoint": "r", "username": "u", "password": "p", "index": "i"},
            "measurements": {"endpoint": "o", "insecure": True, "timeout": 5, "metrics_interval": 10},
        }

    def trigger_app(self, process: str, subscriptions: Sequence[str] = (), **config: str) -> dict[str, Any]:
        """What app.yaml holds for a trigger."""
        app = self.app(process, subscriptions, **config)
        app["metadata"]["process_type"] = "trigger"
        return app

    def written(self, app: Mapping[str, Any]) -> Path:
        """A new folder with this app.yaml."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "app.yaml").write_text(yaml.safe_dump(dict(app)))
        return folder

    async def run(self, app: Mapping[str, Any], *arguments: str | Path) -> Program:
        """Start ``python ARGUMENTS`` with this app.yaml."""
        folder = self.written(app)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=os.environ | {"KAI_APP_CONFIG_PATH": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.programs.append(Program(process))
        return self.programs[-1]

    async def send(self, sender: str, value: Json, request_id: str = "request", **fields: Any) -> None:
        """Publish as a process of the workflow would."""
        message = Message(request_id, pack(value), from_node=sender, **fields)
        await self.send_bytes(sender, encode(message, self.connection.max_payload))

    async def send_bytes(self, sender: str, data: bytes) -> None:
        await self.connection.js.publish(names.output_subject(self.stream, sender), data)

    async def listen(self, subjects: str = ">") -> Subscription:
        """Everything that is published on these subjects of the workflow from now on."""
        listening = await self.connection.nc.subscribe(f"{self.stream}.{subjects}")
        await flush(self.connection.nc)
        return listening


async def heard(listening: Subscription) -> Message:
    """The next message."""
    return decode((await listening.next_msg(DEADLINE)).data)


@pytest.fixture
async def live(connection: Connection, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[LiveWorkflow]:
    """A workflow whose programs are killed in the end, those that still run."""
    workflow = LiveWorkflow(connection, nats_server.url, tmp_path)
    yield workflow
    for program in workflow.programs:
        await program.kill()
