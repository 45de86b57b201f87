"""Messages that start runs: how soon, how many in a second, and what the bridge itself costs."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks import bridge, children
from benchmarks.errors import BenchmarkError
from benchmarks.feeding import nats_server
from benchmarks.figures import COUNT, MEGABYTES, MILLISECONDS, RATIO, SECONDS, Table
from benchmarks.site import SOON
from kai_airflow.bridge.workflow import source_of
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import NoStreamError
from kai_airflow.messaging.streams import consumer_info, created

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nats.aio.msg import Msg

    from benchmarks.site import Site
    from kai_airflow.bridge.runs.intake import Source
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

ONE_BY_ONE, RUNS, GROUPED, OF_EACH = 200, 1000, 10_000, 100
TURNS = 5
TAKEN_IN = 10_000
FIRST, LAST = 10_000, 100_000  # messages between which memory is looked at
FETCHED = 256  # messages that nats-py's pull subscription asks for at once
ACK = b"+ACK"
POLL = 0.05  # seconds
PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class Served:
    """A workflow that the stack's bridge serves, on a connection to its NATS."""

    connection: Connection
    workflow: Workflow
    source: Source

    async def is_done(self) -> bool:
        """Whether the bridge has acked all messages, and all that it wrote down of groups."""
        for consumer in (self.source.messages, self.source.groups):
            info = await consumer_info(self.connection.js, self.source.stream, consumer)
            if info is None or info.num_pending or info.num_ack_pending:
                return False
        return True

    async def done(self) -> None:
        """Wait for that."""
        deadline = time.monotonic() + PATIENCE
        while not await self.is_done():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.workflow.dag_id}: not all messages have runs after {PATIENCE:g} s")
            await asyncio.sleep(POLL)


@asynccontextmanager
async def _served(site: Site, product: str, messages_per_run: int = 1) -> AsyncIterator[Served]:
    """A workflow in the stack's dags folder; nothing is left of its runs afterwards."""
    text = bridge.krt_of(product, messages_per_run)
    file, workflow = site.stack.dags / product / "krt.yaml", bridge.workflow_of(text)
    file.parent.mkdir()
    file.write_text(text)
    await asyncio.to_thread(site.api.wait_for_dag, workflow.dag_id, SOON)
    async with connect(site.stack.nats_url, name="benchmarks") as connection:
        yield Served(connection, workflow, await _source(connection, workflow))
    file.unlink()
    await asyncio.to_thread(site.api.delete_dag, workflow.dag_id)


async def _source(connection: Connection, workflow: Workflow) -> Source:
    """Where the bridge listens, once it does."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        try:
            source = source_of(workflow.live_stream, await created(connection.js, workflow.live_stream), bridge.TRIGGER)
        except NoStreamError:
            await asyncio.sleep(POLL)
            continue
        if await consumer_info(connection.js, source.stream, source.groups) is not None:
            return source
        await asyncio.sleep(POLL)
    raise BenchmarkError(f"no bridge serves {workflow.dag_id} after {SOON:g} s")


class Latency:
    """One message after the other, each when the last one has its run."""

    def __init__(self, site: Site) -> None:
        self.table = Table(
            "From a message to its run", {"median of 200": MILLISECONDS, "two of 200 take longer than": MILLISECONDS}
        )
        self._site, self._count = site, 0

    def prepare(self) -> None:
        """Nothing."""

    def measure(self) -> None:
        """Each time in another workflow."""
        self._count += 1
        seconds = asyncio.run(self._seconds(f"latency-{self._count}"))
        cuts = quantiles(seconds, n=100)
        self.table.add("published to acked by the bridge", cuts[49] * 1000, cuts[98] * 1000)

    async def _seconds(self, product: str) -> list[float]:
        async with _served(self._site, product) as served:
            answers = await served.connection.nc.subscribe(f"$JS.ACK.{served.source.stream}.{served.source.messages}.>")
            await self._one(served, answers, 0)  # the first one finds everything new
            return [await self._one(served, answers, number) for number in range(1, ONE_BY_ONE + 1)]

    async def _one(self, served: Served, answers: Any, number: int) -> float:
        began = time.perf_counter()
        await served.connection.js.publish(bridge.subject_of(served.workflow), bridge.message(number))
        answer: Msg = await answers.next_msg(timeout=SOON)
        if answer.data != ACK:
            raise BenchmarkError(f"{served.workflow.dag_id}: message {number} was handed back: {answer.data!r}")
        return time.perf_counter() - began


class Rate:
    """As many messages as runs, beside the requests to Airflow alone."""

    def __init__(self, site: Site) -> None:
        self.table = Table(
            f"{RUNS:,} messages, {RUNS:,} runs, in {TURNS} turns", {"all": SECONDS, "rate beside the loop's": RATIO}
        )
        self._site, self._count = site, 0

    def prepare(self) -> None:
        """Nothing."""

    def measure(self) -> None:
        """By turns, so that what else the machine does weighs on both."""
        self._count += 1
        loop, own = asyncio.run(self._both())
        self.table.add("a loop of POSTs", loop, 1.0)
        self.table.add("the bridge", own, loop / own)

    async def _both(self) -> tuple[float, float]:
        loop = own = 0.0
        async with (
            _served(self._site, f"loop-{self._count}") as first,
            _served(self._site, f"own-{self._count}") as last,
        ):
            for turn in range(TURNS):
                loop += await asyncio.to_thread(_posted, self._site, first.workflow.dag_id, turn)
                own += await _bridged(last)
            for served in (first, last):
                if (found := self._site.api.count_runs(served.workflow.dag_id)) != RUNS:
                    raise BenchmarkError(f"{served.workflow.dag_id} has {found} runs, not {RUNS}")
        return loop, own


async def _bridged(served: Served) -> float:
    began = time.perf_counter()
    await bridge.publish(served.connection, served.workflow, RUNS // TURNS)
    await served.done()
    return time.perf_counter() - began


def _posted(site: Site, dag_id: str, turn: int) -> float:
    """What nobody who starts runs one after the other can do without, on one connection."""
    stack = site.stack
    with httpx.Client(base_url=stack.url, timeout=SOON, trust_env=False) as client:
        login = {"username": stack.user, "password": stack.password}
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        began = time.perf_counter()
        for number in range(RUNS // TURNS):
            body = {"dag_run_id": f"posted-{turn}-{number}", "logical_date": None, "conf": {"payload": {"n": number}}}
            client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).raise_for_status()
        return time.perf_counter() - began


class Groups:
    """Many messages in each run."""

    def __init__(self, site: Site) -> None:
        self.table = Table(f"{GROUPED:,} messages, up to {OF_EACH} in a run", {"all": SECONDS, "runs": COUNT})
        self._site, self._count = site, 0

    def prepare(self) -> None:
        """Nothing."""

    def measure(self) -> None:
        """Each time in another workflow."""
        self._count += 1
        self.table.add("the bridge", *asyncio.run(self._figures(f"groups-{self._count}")))

    async def _figures(self, product: str) -> tuple[float, int]:
        async with _served(self._site, product, OF_EACH) as served:
            began = time.perf_counter()
            await bridge.publish(served.connection, served.workflow, GROUPED)
            await served.done()
            return time.perf_counter() - began, self._site.api.count_runs(served.workflow.dag_id)


class Intake:
    """The bridge's own share: messages that are there, an Airflow that takes each run at once."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            f"Taking in {TAKEN_IN:,} messages, without an Airflow", {"all": SECONDS, "rate beside nats-py's": RATIO}
        )
        self._folder, self._count = folder, 0

    def prepare(self) -> None:
        """Do all once, so that what only the first time costs isn't measured."""
        asyncio.run(self._measured())

    def measure(self) -> None:
        """One after the other, each time another one first."""
        fetched, taken_in = asyncio.run(self._measured())
        self.table.add("nats-py alone: fetch and ack", fetched, 1.0)
        self.table.add("the bridge", taken_in, fetched / taken_in)

    async def _measured(self) -> tuple[float, float]:
        self._count += 1
        folder = self._folder / f"intake-{self._count}"
        folder.mkdir()
        async with nats_server(folder) as url, connect(url, name="benchmarks") as connection:
            workflow = bridge.workflow_of(bridge.krt_of("intake"))
            await bridge.prepared(connection, workflow)
            await bridge.publish(connection, workflow, TAKEN_IN)
            doing = [_fetched, _taken_in]
            order = doing if self._count % 2 else reversed(doing)
            seconds = {work: await work(connection, workflow) for work in order}
        return seconds[_fetched], seconds[_taken_in]


async def _fetched(connection: Connection, workflow: Workflow) -> float:
    """What nobody who takes messages in can do without."""
    began = time.perf_counter()
    subscription = await connection.js.pull_subscribe(
        bridge.subject_of(workflow), durable="fetching", stream=workflow.live_stream
    )
    left = TAKEN_IN
    while left:
        for message in await subscription.fetch(FETCHED):
            await message.ack()
            left -= 1
    return time.perf_counter() - began


async def _taken_in(connection: Connection, workflow: Workflow) -> float:
    airflow = bridge.Instant()
    began = time.perf_counter()
    async with bridge.served(connection, airflow, workflow):
        await airflow.started(TAKEN_IN)
        return time.perf_counter() - began


class Memory:
    """What a bridge holds on to, in a process of its own, with an Airflow that takes each run at once."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            "Memory of a bridge",
            {f"after {FIRST:,} messages": MEGABYTES, f"after {LAST:,}": MEGABYTES, "more": MEGABYTES},
        )
        self._folder, self._count = folder, 0

    def prepare(self) -> None:
        """Nothing."""

    def measure(self) -> None:
        """A new nats-server, a new bridge."""
        self._count += 1
        first, last = asyncio.run(self._measured())
        self.table.add("without an Airflow", first, last, last - first)

    async def _measured(self) -> tuple[float, float]:
        folder = self._folder / f"memory-{self._count}"
        folder.mkdir()
        async with nats_server(folder) as url:
            words = children.command("bridging.py", url, FIRST, LAST)
            bridging = asyncio.create_task(asyncio.to_thread(children.said, words, os.environ))
            async with connect(url, name="benchmarks") as connection:
                workflow = bridge.workflow_of(bridge.krt_of("memory"))
                await _source(connection, workflow)
                await bridge.publish(connection, workflow, LAST)
                first, last = await bridging
        return first, last
