"""Draining a try: following what its process acks and publishes until it is done."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import MessageType
from kai_airflow.messaging.errors import BadMessageError, RestlessError, ServerRestartedError, translated
from kai_airflow.messaging.tries import Channel, Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.feed import Fed
    from kai_airflow.messaging.tries import Try

# The SDKs ack before they publish an error, by up to a millisecond: how long nothing may come before a try is done.
QUIET_SECONDS = 0.5

# How long a process may go on publishing after it has acked everything.
RESTLESS_SECONDS = 30.0

# An error's text and request id go into a task's log: whatever a process sends, not more than this of it.
LONGEST_TEXT = 4096
LONGEST_ID = 200

# Acks and outputs are noticed as they pass by; the consumer is asked at least this often, in case one was missed.
_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Complaint:
    """One message of type ERROR."""

    request_id: str
    text: str


@dataclass(frozen=True)
class Output:
    """One message that the process published."""

    sequence: int
    channel: str
    request_id: str
    complaint: Complaint | None


@dataclass(frozen=True)
class Progress:
    """How far a process is with what it was fed: whether it ever subscribed, and how many it has yet to ack."""

    started: bool
    pending: int

    @property
    def finished(self) -> bool:
        """Whether all that was fed is acked."""
        return self.pending == 0


@dataclass
class Drain:
    """What one try has published and acked so far. Made by :func:`draining`."""

    connection: Connection
    of: Try
    fed: Fed
    outputs: list[Output] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def progress(self) -> Progress:
        """Ask the consumer.

        :raises ServerRestartedError: nats-server isn't the one that the try began with, so acks may be forgotten
        """
        with translated(f"ask how far {self.of.process!r} is"):
            info = await self.connection.js.consumer_info(self.of.stream, self.of.consumer)
        if self.connection.server_id != self.connection.first_server_id:
            raise ServerRestartedError(self.of.process)
        return _progress(self.fed, info)

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
        """Read the outputs that are new in the stream: the stream is the truth, what passes by only wakes."""
        with translated(f"read what {self.of.process!r} published"):
            while (output := await self._next()) is not None:
                self.outputs.append(output)

    async def _next(self) -> Output | None:
        after = self.outputs[-1].sequence if self.outputs else 0
        try:
            message = await self.connection.js.get_msg(self.of.stream, after + 1, subject=self.of.outputs, next=True)
        except NotFoundError:
            return None
        channel = self.of.channel(message.subject or "")
        return _output(message.seq or 0, channel, message.data or b"")

    @property
    def complaints(self) -> list[Complaint]:
        """The messages of type ERROR, in their order."""
        return [output.complaint for output in self.outputs if output.complaint]

    def manifest(self) -> Manifest:
        """What this try leaves."""
        channels: dict[str, list[int]] = defaultdict(list)
        for output in self.outputs:
            if output.complaint is None:
                channels[output.channel].append(output.sequence)
        bad = min(self.fed.count, len({complaint.request_id for complaint in self.complaints}))
        return Manifest(
            stream=self.of.stream,
            try_id=self.of.id,
            process=self.of.process,
            fed=self.fed.count,
            good=self.fed.count - bad,
            bad=bad,
            channels={name: Channel(tuple(sequences)) for name, sequences in channels.items()},
        )


@asynccontextmanager
async def draining(connection: Connection, of: Try, fed: Fed) -> AsyncIterator[Drain]:
    """Follow a try that was fed this. Enter it before the process starts, so that nothing is missed."""
    drain = Drain(connection, of, fed)

    async def passed(_: Msg) -> None:
        drain.wake()

    watched = (of.outputs, f"$JS.ACK.{of.stream}.{of.consumer}.>")
    subscriptions = [await connection.nc.subscribe(subject, cb=passed) for subject in watched]
    try:
        yield drain
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


def _progress(fed: Fed, info: ConsumerInfo) -> Progress:
    """The ack floor alone tells when all is acked: the server's counts lag behind what was just published."""
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    counted = (info.num_pending or 0) + (info.num_ack_pending or 0)
    return Progress(
        started=bool(info.push_bound or (info.delivered and info.delivered.consumer_seq)),
        pending=0 if floor >= fed.last else max(1, counted),
    )


def _output(sequence: int, channel: str, data: bytes) -> Output:
    """What can't be decoded counts as an error of its process: fed on, it would crash the next."""
    try:
        message = codec.decode(data)
    except BadMessageError as error:
        return Output(sequence, channel, "", Complaint("", f"published a message that can't be read: {error}"))
    request_id = _shortened(message.request_id, LONGEST_ID)
    if message.type is not MessageType.ERROR:
        return Output(sequence, channel, request_id, None)
    return Output(sequence, channel, request_id, Complaint(request_id, _shortened(message.error, LONGEST_TEXT)))


def _shortened(text: str, longest: int) -> str:
    """On one line, so that no message can imitate the log's own lines."""
    cut = text if len(text) <= longest else f"{text[:longest]}... ({len(text) - longest} more characters)"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
