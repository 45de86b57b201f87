"""Feeding and draining thousands of messages, beside the least that nats-py takes to copy as many."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import uuid
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.figures import RATIO, SECONDS, Table
from kai_airflow.local import nats, ports
from kai_airflow.local.environment import basis
from kai_airflow.local.supervisor import Supervisor
from kai_airflow.local.waiting import until
from kai_airflow.messaging.codec import Message, encode, pack
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.drain import draining
from kai_airflow.messaging.feed import Share, feed, open_input
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Source, Try
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from kai_airflow.messaging.connection import Connection

MESSAGES = 5000
STREAM = names.run_stream("benchmarks", "feeding")
COPY, FEED, DRAIN = "nats-py alone: get and publish", "feed", "drain"
SOON = 30.0  # seconds for nats-server to start


class Feeding:
    """A nats-server alone, without Airflow, new each time."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            f"Feeding and draining {MESSAGES:,} messages",
            {"all": SECONDS, "beside get and publish": RATIO},
        )
        self._folder = folder
        self._count = 0

    def prepare(self) -> None:
        """Do all once, so that what only the first time costs isn't measured."""
        asyncio.run(self._measured())

    def measure(self) -> None:
        """One after the other, each time another one first."""
        seconds = asyncio.run(self._measured())
        feed_and_drain = "feed and drain"
        seconds[feed_and_drain] = seconds[FEED] + seconds[DRAIN]
        for row in (COPY, FEED, DRAIN, feed_and_drain):
            self.table.add(row, seconds[row], seconds[row] / seconds[COPY])

    async def _measured(self) -> dict[str, float]:
        folder = self._folder / f"nats-{self._count}"
        folder.mkdir()
        async with nats_server(folder) as url, connect(url, name="benchmarks") as connection:
            await ensure_run_stream(connection.js, STREAM)
            upstream = _new_try("upstream")
            wanted = [await _publish(connection, upstream, n) for n in range(MESSAGES)]
            doing = deque(
                [
                    (COPY, lambda: _copy(connection, wanted)),
                    (FEED, lambda: _feed(connection, wanted)),
                    (DRAIN, lambda: _drain(connection, upstream)),
                ]
            )
            doing.rotate(self._count)
            self._count += 1
            return {row: await _timed(work) for row, work in doing}


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[str]:
    """A nats-server alone, while the block lasts; gives its URL."""
    port, password = ports.free(1)[0], secrets.token_hex(16)
    async with Supervisor(folder) as supervisor:
        await supervisor.start(nats.part(folder, port, password, basis(os.environ), 0))
        url = nats.url(port, password)
        await until(nats.NAME, lambda: nats.answers(url), SOON)
        yield url


def _new_try(process: str) -> Try:
    return Try(STREAM, str(uuid.uuid4()), process)


async def _publish(connection: Connection, of: Try, n: int) -> Source:
    message = Message(f"request-{n}", pack({"n": n}), from_node=of.process)
    ack = await connection.js.publish(of.output, encode(message, connection.max_payload), stream=STREAM)
    return Source(ack.seq, of.output)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _copy(connection: Connection, wanted: list[Source]) -> None:
    """What nobody who copies one message after the other can do without."""
    subject = _new_try("copy").input
    for source in wanted:
        message = await connection.js.get_msg(STREAM, source.sequence)
        await connection.js.publish(subject, message.data or b"", stream=STREAM)


async def _feed(connection: Connection, wanted: list[Source]) -> None:
    of = _new_try("downstream")
    await open_input(connection, of)
    await feed(connection, [of], wanted)


async def _drain(connection: Connection, of: Try) -> None:
    """Read what a process has published, as its task does once all is acked."""
    async with draining(connection, Share(of), connection.server_id) as drain:
        await drain.read()
