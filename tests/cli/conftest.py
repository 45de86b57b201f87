"""A site for the commands around the bridge: KRT files, a real nats-server, and Airflow's API."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.site import AirflowSite, Site
from kai_airflow.bridge.survey import Survey
from kai_airflow.bridge.workflow import source_of
from kai_airflow.local.home import Home, locked
from kai_airflow.messaging.codec import Json, Message, encode, pack
from kai_airflow.messaging.connection import NatsAddress
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import microseconds, stored
from kai_airflow.messaging.streams import created, ensure_dead_letters, ensure_live_stream
from kai_airflow.plan import names
from tests.cli.airflow_stub import AirflowStub, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kai_airflow.bridge.runs.intake import Source
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow
    from tests.conftest import NatsServer

DEADLINE = 30.0  # seconds for a command that takes less than one on an idle machine
RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"
DAG = "shop.train"
STREAM = names.live_stream("shop", "v1.0.0", "train")


def krt(*processes: str, more: str = "", version: str = "v1.0.0", kind: str = "training") -> str:
    """A product of one workflow, train; trigger ``start`` and exit ``exit``, and what else is given."""
    listed = "".join(f"\n      - {one}" for one in (process("start", "trigger"), *processes, EXIT))
    return f"""\
version: {version}
description: a test
workflows:
  - name: train
    type: {kind}
    {more}
    processes:{listed}
"""


def process(name: str, kind: str, *subscriptions: str, more: str = "") -> str:
    listed = f", subscriptions: [{', '.join(subscriptions)}]" if subscriptions else ""
    return f"{{name: {name}, type: {kind}, image: 'test/{name}:v1', {RESOURCES}{listed}{more}}}"


EXIT = process("exit", "exit", "start")
PER_RUN = "x-airflow: {messages_per_run: 3}"


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Running:
    """A command that runs; what it said on standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def says(self, text: str) -> str:
        """The next line on standard error with this text, awaited."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"{text!r} not in {self.lines}")

    async def ended(self) -> Ran:
        async with asyncio.timeout(DEADLINE):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ran(self.process.returncode, out.decode(), "".join(self.lines) + err.decode())


@dataclass
class Desk:
    """Where commands are given."""

    connection: Connection
    airflow: AirflowStub
    home: Path
    dags: Path

    def write(self, text: str, product: str = "shop") -> None:
        """A KRT in the dags folder."""
        (self.dags / product).mkdir(exist_ok=True)
        (self.dags / product / "krt.yaml").write_text(text)

    def workflow(self, dag_id: str = DAG) -> Workflow:
        return Survey([self.dags]).look()[dag_id]

    async def start(self, *words: str, given: bytes | None = None) -> Running:
        """Start a command at this site."""
        action = 2 if words[0] == "deadletters" else 1
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kai_airflow.cli", *words[:action], "--home", str(self.home), *words[action:]),
            env={**os.environ, "COLUMNS": "200"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        if given is not None:
            process.stdin.write(given)
        process.stdin.close()
        return Running(process)

    async def run(self, *words: str, given: bytes | None = None) -> Ran:
        """Give a command, and wait for its end."""
        return await (await self.start(*words, given=given)).ended()

    async def prepare(self, *processes: str) -> None:
        """The streams, as a bridge makes them."""
        await ensure_live_stream(self.connection, STREAM, processes or ("start", "exit"))
        await ensure_dead_letters(self.connection.js)

    async def publish(self, value: Json = None, request_id: str = "r", trigger: str = "start") -> int:
        """A trigger's message; its sequence."""
        message = Message(request_id, pack(value), from_node=trigger)
        return await self.publish_bytes(encode(message, self.connection.max_payload), trigger)

    async def publish_bytes(self, data: bytes, trigger: str = "start") -> int:
        return (await self.connection.js.publish(names.output_subject(STREAM, trigger), data)).seq

    async def created(self) -> str:
        return await created(self.connection.js, STREAM)

    async def source(self, trigger: str = "start") -> Source:
        return source_of(STREAM, await self.created(), trigger)

    async def origin(self, *sequences: int, trigger: str = "start") -> Origin:
        """What a run of these messages carries."""
        raw = await stored(self.connection, STREAM, sequences[0])
        assert raw is not None
        return Origin(STREAM, await self.created(), trigger, sequences, microseconds(raw.time))


@pytest.fixture
async def desk(connection: Connection, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Desk]:
    """A site with the product shop, whose DAG Airflow has."""
    home = Home(tmp_path / "home")
    (tmp_path / "dags").mkdir()
    home.make()
    with locked(home):  # as by a stack that runs
        async with serving() as airflow:
            airflow.add_dag(DAG)
            where = AirflowSite(airflow.url, "admin", "CHANGE-ME")
            site = Site((tmp_path / "dags",), NatsAddress(nats_server.url), where)
            home.site.write_text(site.to_json())
            made = Desk(connection, airflow, home.path, tmp_path / "dags")
            made.write(krt())
            yield made
