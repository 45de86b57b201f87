"""Draining a try: following what its process acks and publishes until it is done."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from kai_airflow.messaging.errors import RestlessError, ServerRestartedError, translated
from kai_airflow.messaging.outputs import published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.feed import Share
    from kai_airflow.messaging.outputs import Output
    from kai_airflow.messaging.tries import Try

# The SDKs ack before they publish an error, by up to a millisecond: how long nothing may come before a try is done.
QUIET_SECONDS = 0.5

# How long a process may go on publishing after it has acked everything.
RESTLESS_SECONDS = 30.0

# Acks and outputs are noticed as they pass by; the consumer is asked at least this often, in case one was missed.
_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """How far a process is with what it was fed: whether it ever subscribed, and how many it has yet to ack.

    ``acked`` is the sequence up to which it has acked all.
    """

    started: bool
    acked: int
    pending: int

    @property
    def finished(self) -> bool:
        """Whether all that was fed is acked."""
        return self.pending == 0


@dataclass
class Drain:
    """What one try has published and acked so far. Made by :func:`draining`."""

    connection: Connection
    share: Share
    server: str
    outputs: list[Output] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def of(self) -> Try:
        """The try."""
        return self.share.of

    async def progress(self) -> Progress:
        """Ask the consumer.

        :raises ServerRestartedError: nats-server isn't the one that the try began with, so acks may be forgotten
        :raises MessagingError: the consumer is gone, or nobody answers
        """
        with translated(f"ask how far {self.of.process!r} is"):
            info = await self.connection.asked(self._consumer_info)
        if self.connection.server_id != self.server:
            raise ServerRestartedError(self.of.process)
        return _progress(self.share, info)

    async def _consumer_info(self) -> ConsumerInfo:
        found: ConsumerInfo = await self.connection.js.consumer_info(self.of.stream, self.of.consumer)
        return found

    def wake(self) -> None:
        """Have whoever waits for a change look again."""
        self._woken.set()

    async def changed(self) -> None:
        """Wait until the process acks or publishes, at most a tick."""
        await self._woken_within(_TICK_SECONDS)

    async def settled(self) -> None:
        """Wait until nothing has come for a moment, then read what came until then.

        :raises RestlessError: it never stops publishing, though it has acked everything
        """
        deadline = time.monotonic() + RESTLESS_SECONDS
        while await self._woken_within(QUIET_SECONDS):
            await self.read()
            if time.monotonic() > deadline:
                raise RestlessError(self.of.process, RESTLESS_SECONDS)
        await self.read()

    async def _woken_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def read(self) -> None:
        """Read the outputs that are new in the stream."""
        after = self.outputs[-1].sequence if self.outputs else 0
        self.outputs += await published(self.connection, self.of, after)


@asynccontextmanager
async def draining(connection: Connection, share: Share, server: str) -> AsyncIterator[Drain]:
    """Follow a try that was fed this by way of the nats-server with this id."""
    drain, of = Drain(connection, share, server), share.of

    async def passed(_: Msg) -> None:
        drain.wake()

    watched = (of.outputs, f"$JS.ACK.{of.stream}.{of.consumer}.>")
    subscriptions = [await connection.nc.subscribe(subject, cb=passed) for subject in watched]
    try:
        yield drain
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def acked(connection: Connection, of: Try) -> int:
    """How far a try's process has come: the last message of its input up to which it has acked all; 0 is none.

    A consumer that is gone can't tell any more, so nothing counts as acked.
    """
    with translated(f"ask how far {of.process!r} is"):
        try:
            info = await connection.js.consumer_info(of.stream, of.consumer)
        except NotFoundError:
            return 0
    return _floor(info)


def _progress(share: Share, info: ConsumerInfo) -> Progress:
    """The ack floor alone tells when all is acked: the server's counts lag behind what was just published."""
    counted = (info.num_pending or 0) + (info.num_ack_pending or 0)
    floor = _floor(info)
    return Progress(
        started=bool(info.push_bound or (info.delivered and info.delivered.consumer_seq)),
        acked=floor,
        pending=0 if floor >= share.last else max(1, counted),
    )


def _floor(info: ConsumerInfo) -> int:
    return info.ack_floor.stream_seq if info.ack_floor else 0
