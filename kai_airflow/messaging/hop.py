"""What a long-lived process did with a request, read from the live stream where it all happens.

A message counts as handled when its consumer's ack floor has reached it, or its ack was seen to pass by. The server has
no word on a single message, so where another message holds the floor and this one's ack may have passed before anybody
looked, its outputs stand for it, once nothing has followed them for ``OVERTAKEN_SECONDS``.

Only what stands behind the request is read, on the subjects that matter: what others ask costs a glance at each of
their messages there.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from kai_airflow.messaging import codec
from kai_airflow.messaging.consumers import floor
from kai_airflow.messaging.drain import QUIET_SECONDS
from kai_airflow.messaging.errors import BadMessageError, ExpiredError, MissedError, translated
from kai_airflow.messaging.feed import Input, Share
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.outcome import manifest, settle
from kai_airflow.messaging.outputs import output_of
from kai_airflow.messaging.reading import identity, microseconds, stored
from kai_airflow.messaging.streams import consumer_info
from kai_airflow.messaging.tries import Try
from kai_airflow.plan import circle, names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.outputs import Complaint, Output
    from kai_airflow.messaging.pull import Delivery
    from kai_airflow.messaging.tries import Manifest
    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Consumer, Subject

# What stands in manifests for the try where there is none: all is on KAI's own subjects.
LIVE = "live"

OVERTAKEN_SECONDS = 30.0
_READ_AGAIN_SECONDS = 5.0
_TICK_SECONDS = 1.0


def arrived(process: Process, manifests: Mapping[str, Manifest]) -> list[int]:
    """The messages of upstream that a process hears: their sequences in the live stream."""
    return sorted(
        {
            sequence
            for feed in process.feeds
            if feed.process in manifests
            for sequences in manifests[feed.process].channels.get(feed.channel, {}).values()
            for sequence in sequences
        }
    )


@dataclass(frozen=True)
class Arrival:
    """A message for a process by one of its consumers. ``published``: µs since 1970."""

    consumer: Consumer
    sequence: int
    request_id: str
    published: int


@dataclass(frozen=True)
class Result:
    """What came of it: the manifest, and the text of its ERROR messages."""

    manifest: Manifest
    complaints: tuple[Complaint, ...]


@dataclass
class Hop:
    """What a process has got of a request and published for it. Made by :func:`following`.

    Where processes stream in a circle, none of them is done before all are: ``_members``.
    """

    connection: Connection
    workflow: Workflow
    process: Process
    _stack: AsyncExitStack
    _members: tuple[Process, ...]
    _reader: Reader
    _arrivals: dict[tuple[str, int], Arrival] = field(default_factory=dict)
    _request_ids: set[str] = field(default_factory=set)
    _open: dict[tuple[str, int], Arrival] = field(default_factory=dict)
    _outputs: list[Output] = field(default_factory=list)
    _last_published: int = 0
    _had_outputs: bool | None = None
    _last_news: float = field(default_factory=time.monotonic)
    _last_read: float = -math.inf
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_handled(self) -> bool:
        """Whether nothing of it is in hand, or waits."""
        if not self._open:
            return True
        return bool(self._had_outputs) and time.monotonic() - self._last_news > OVERTAKEN_SECONDS

    async def look(self) -> tuple[Consumer, ...]:
        """Ask the consumers how far they are; gives those that nobody listens on, though something waits there.

        :raises MissedError: a consumer was made after the request was published
        :raises NatsUnavailableError: no answer (now)
        """
        if time.monotonic() - self._last_read > _READ_AGAIN_SECONDS:
            await self.read()
        unattended, stream = [], self.workflow.live_stream
        for name in dict.fromkeys(arrival.consumer for arrival in self._open.values()):
            info = await self.connection.asked(partial(consumer_info, self.connection.js, stream, name))
            if info is not None:
                self._take_floor(info)
            waits = any(consumer == name for consumer, _ in self._open)
            if waits and not (info and info.push_bound):
                unattended.append(name)
        return tuple(unattended)

    async def changed(self) -> None:
        """Wait until something of it is acked, a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    async def settled(self) -> bool:
        """Whether nothing more came of it for a moment: the SDKs ack before they publish an error."""
        await asyncio.sleep(QUIET_SECONDS)
        return not await self.read()

    async def read(self) -> bool:
        """Read what is new in the stream; whether some of it belongs to the request."""
        found = False
        async with aclosing(self._reader.kept()) as kept:
            async for one in kept:
                found |= await self._take(one)
        self._last_read = time.monotonic()
        if self._had_outputs is None:
            self._had_outputs = bool(self._outputs)
        if found:
            self._last_news = time.monotonic()
        return found

    def result(self) -> Result:
        """What came of it until now."""
        of = Try(self.workflow.live_stream, LIVE, self.process.name)
        own = {one.consumer for one in self.process.live.inputs} if self.process.live else set()
        arrivals = [arrival for arrival in self._arrivals.values() if arrival.consumer in own]
        share = Share(of, [Input(one.sequence, one.sequence, one.request_id) for one in arrivals])
        outcome = settle(share, self._outputs, None, errors_travel=self.process.on_message_error == "continue")
        left = manifest(of.stream, of.process, [outcome])
        first = min(arrival.published for arrival in arrivals)
        latency = (self._last_published - first) / 1_000_000 if self._outputs else None
        return Result(replace(left, latency=latency), outcome.complaints)

    async def begin(self, arrivals: Iterable[Arrival]) -> None:
        """Take in what arrived for the process; from now on acks are heard."""
        for arrival in arrivals:
            await self._open_up(arrival)

    def _take_floor(self, info: ConsumerInfo) -> None:
        for arrival in [one for one in self._open.values() if one.consumer == info.name]:
            # A new consumer's floor is the stream's last message: it says nothing of what was there before.
            if microseconds(info.created) > arrival.published and not self._outputs:
                raise MissedError(self.workflow.live_stream, info.name, arrival.sequence)
            if arrival.sequence <= floor(info):
                del self._open[arrival.consumer, arrival.sequence]

    async def _take(self, one: Delivery) -> bool:
        try:
            message = codec.decode(one.data)
        except BadMessageError:
            return False  # whose it is nobody can know
        request_id = identity(message.request_id)
        if request_id not in self._request_ids:
            return False
        output = names.output_subject(self.workflow.live_stream, self.process.name)
        if f"{one.subject}.".startswith(f"{output}."):
            self._outputs.append(output_of(one.sequence, one.subject[len(output) + 1 :], one.data))
            self._last_published = one.published
        if len(self._members) > 1:
            for consumer in _hearing(self._members, one.subject):
                await self._open_up(Arrival(consumer, one.sequence, request_id, one.published))
        return True

    async def _open_up(self, arrival: Arrival) -> None:
        key = arrival.consumer, arrival.sequence
        if key in self._arrivals:
            return
        self._arrivals[key] = self._open[key] = arrival
        self._request_ids.add(arrival.request_id)

        async def acked(message: Msg) -> None:
            if message.data[:4] not in (b"-NAK", b"+WPI"):
                self._open.pop(key, None)
                self._woken.set()

        subject = f"$JS.ACK.{self.workflow.live_stream}.{arrival.consumer}.*.{arrival.sequence}.>"
        with translated(f"listen to the acks of {arrival.consumer}"):
            subscription = await self.connection.nc.subscribe(subject, cb=acked)
        self._stack.push_async_callback(subscription.unsubscribe)


@asynccontextmanager
async def following(
    connection: Connection, workflow: Workflow, process: Process, sequences: Iterable[int]
) -> AsyncIterator[Hop]:
    """What becomes of these messages of the live stream at a process that hears them.

    :raises ExpiredError: the stream no longer holds one of them
    """
    arrivals = [one async for one in _arrivals(connection, workflow, process, sequences)]
    around = circle(workflow.processes, process.name)
    members = tuple(one for one in workflow.processes if one.name in around)
    first = min(arrival.sequence for arrival in arrivals)
    # In a circle also what arrived for the others at the same time.
    after = first - 1 if len(members) > 1 else first
    reader = Reader(connection, workflow.live_stream, _subjects(workflow, members), after=after)
    async with AsyncExitStack() as stack:
        hop = Hop(connection, workflow, process, stack, members, reader)
        await hop.begin(arrivals)
        yield hop


async def _arrivals(
    connection: Connection, workflow: Workflow, process: Process, sequences: Iterable[int]
) -> AsyncIterator[Arrival]:
    for sequence in sequences:
        raw = await stored(connection, workflow.live_stream, sequence)
        hearing = list(_hearing([process], raw.subject or "")) if raw else []
        if raw is None or not hearing:
            raise ExpiredError(workflow.live_stream, sequence)
        request_id = identity(codec.decode(raw.data or b"").request_id)
        for consumer in hearing:
            yield Arrival(consumer, sequence, request_id, microseconds(raw.time))


def _hearing(processes: Iterable[Process], subject: str) -> Iterator[Consumer]:
    """The consumers of those that listen to this subject."""
    for process in processes:
        for one in process.live.inputs if process.live else ():
            if one.subject == subject and one.consumer:
                yield one.consumer


def _subjects(workflow: Workflow, members: tuple[Process, ...]) -> list[Subject]:
    """What these publish, and in a circle also what others publish for them."""
    inside = [subject for member in members for subject in names.live_subjects(workflow.live_stream, member.name)]
    if len(members) == 1:
        return inside
    circle_names = {member.name for member in members}
    feeds = [feed for member in members for feed in member.feeds if feed.process not in circle_names]
    outside = [names.input_subject(workflow.live_stream, feed.text) for feed in feeds]
    return [*inside, *dict.fromkeys(outside)]
