"""What long-lived processes need in NATS, and what is to be done there when a pod of theirs has ended.

An SDK's ack wait is 22 hours: what a dead pod had in hand would wait that long. So the bridge naks it on the pod's
behalf. The server takes a NAK for a message that the consumer has pending, whoever sends it, and ignores it for any
other (nats-server 2.15.1, with a JetStream domain as without one): what lies between the ack floor and the last
delivery can be naked without knowing which of it is pending.

A request is handled twice where the dead pod had published for it and not acked it yet, as everywhere with
at-least-once delivery.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from kai_airflow.messaging.connection import flush
from kai_airflow.messaging.consumers import ensure_inputs, floor, is_input, is_input_of, is_reply_of, listed, pending
from kai_airflow.messaging.errors import NoStreamError, translated
from kai_airflow.messaging.streams import (
    DEFAULT,
    consumer_info,
    ensure_buckets,
    ensure_live_stream,
    ensure_object_store,
    seed_configuration,
)
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Set

    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.streams import Retention
    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Stream

log = logging.getLogger(__name__)

# Where others listen on as well, nobody can tell whose a message is: it is nobody's when of all that was in hand at the
# death nothing was acked for so long. A handler that takes longer sees its request twice then.
QUIET = 10.0
# The same where only the connection broke: most probably who lives has in hand what it was sent.
STRAYED = 60.0
# A reply consumer is there a moment before its process listens on it.
YOUNG = timedelta(minutes=1)
# Seconds in which a process listens again that only lost its connection: the SDKs wait two before they try, and this
# side a quarter, so that it is the first one back when nats-server was restarted. Until then, that nobody listens tells
# nothing.
AWAY = 20.0
AT_ONCE = 10_000  # NAKs that are sent before the server is waited for
TICK = 1.0  # seconds until a consumer is asked again who listens
LOOK = 60.0  # seconds until consumers are looked at whose end nobody told of


@dataclass
class LiveNats:
    """The NATS side of long-lived processes. Raises MessagingError where NATS doesn't answer, or refuses."""

    connection: Connection
    retention: Retention = DEFAULT
    _deaths: dict[tuple[str, str], object] = field(default_factory=dict)

    async def prepare(self, workflow: Workflow, process: Process) -> None:
        """Have all that a process needs there before its Deployment: stream, buckets, configuration, consumers."""
        js, buckets = self.connection.js, process.buckets
        everybody = [one.name for one in workflow.processes]
        await ensure_live_stream(self.connection, workflow.live_stream, everybody, self.retention)
        await ensure_buckets(js, (buckets.shared, buckets.version, buckets.workflow, buckets.process))
        # The process's own bucket is written by the process, at each start (KAI reference, section 4).
        await seed_configuration(js, buckets.version, workflow.version_config)
        await seed_configuration(js, buckets.workflow, workflow.config)
        if process.object_store:
            await ensure_object_store(js, process.object_store)
        await ensure_inputs(self.connection, workflow.live_stream, process)

    async def gone(self, labels: Mapping[str, str], process: str) -> None:
        """A pod of a process, or its container, has ended: give back what it had in hand, remove what it left behind.

        Returns when that is done: where others of its pods listen on, or where replies have waited for one, some
        seconds later. Each death is told once; another one meanwhile goes on for both.

        :param labels: KAI's own: product, version, workflow
        """
        stream = names.live_stream(labels["product"], labels["version"], labels["workflow"])
        found = await self._listed(stream)
        inputs = [info.name for info in found if is_input_of(info, process)]
        handing_back = (self._hand_back(stream, name, QUIET) for name in inputs)
        await asyncio.gather(self._remove_replies(stream, found, process), *handing_back)

    async def lost(self) -> None:
        """Return when the connection broke and was made anew."""
        await self.connection.breaks.mended.wait()

    async def strayed(self, labels: Mapping[str, str], process: str) -> None:
        """Where a server was lost, or a connection, what it had just sent may be nobody's, though who listens lives.

        Returns when a minute has passed in which nothing of it was acked. A handler that takes longer sees its request
        twice. An end of a pod meanwhile is seen to by its own call.
        """
        stream = names.live_stream(labels["product"], labels["version"], labels["workflow"])
        inputs = [info.name for info in await self._listed(stream) if is_input_of(info, process)]
        waiting = (name for name in inputs if (stream, name) not in self._deaths)
        await asyncio.gather(*(self._hand_back(stream, name, STRAYED, alive=True) for name in waiting))

    async def idle(self, stream: Stream) -> bool:
        """Whether no task and no exit has anything to do; true for a stream that isn't there."""
        return not any(pending(info) for info in await self._listed(stream) if is_input(info))

    async def unheard(self, stream: Stream) -> Set[str]:
        """The consumers of tasks and exits on which nobody listens; none of a stream that isn't there."""
        return {info.name for info in await self._listed(stream) if is_input(info) and not info.push_bound}

    def steady(self) -> float:
        """Seconds since the connection was made, or made anew; 0 while it is broken."""
        return self.connection.steady

    async def _listed(self, stream: Stream) -> list[ConsumerInfo]:
        try:
            return await listed(self.connection, stream)
        except NoStreamError:
            return []

    async def _remove_replies(self, stream: Stream, found: list[ConsumerInfo], trigger: str) -> None:
        """Those that ended pods of a trigger have left: nobody binds to their names again.

        A pod that lost its connection does listen again, and wouldn't hear that its consumer is gone.
        """
        if left := _left_replies(found, trigger):
            await asyncio.sleep(AWAY)
            left &= _left_replies(await self._listed(stream), trigger)
        for name in sorted(left):
            log.info("removing %s: the pod that listened there has ended", name)
            with translated(f"remove consumer {name}"):
                try:
                    await self.connection.js.delete_consumer(stream, name)
                except NotFoundError:
                    continue

    async def _hand_back(self, stream: Stream, name: str, quiet: float, *, alive: bool = False) -> None:
        """Where another death comes meanwhile, its own call sees to all that is pending then."""
        death = self._deaths[stream, name] = object()
        async with _acks(self.connection, stream, name) as acks:
            found = await self._nobodys(stream, name, acks, quiet, alive=alive)
            if self._deaths.get((stream, name)) is not death:
                return
            del self._deaths[stream, name]
            if found:
                info, last = found
                await self._nak(stream, info, [n for n in range(floor(info) + 1, last + 1) if n not in acks.seen])

    async def _nobodys(
        self, stream: Stream, name: str, acks: _Acks, quiet: float, *, alive: bool
    ) -> tuple[ConsumerInfo, int] | None:
        """The consumer, and the last message that nobody has in hand; None where nothing is in hand.

        All of it is where nobody listens, unless who did is alive, or may be about to listen again: who comes
        afterwards is given later ones. Else, what is left of that which was in hand at first, when it has been left
        long enough.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + quiet
        while True:
            info = await consumer_info(self.connection.js, stream, name)
            if info is None or not info.num_ack_pending:
                return None
            delivered = info.delivered.stream_seq if info.delivered else 0
            if not info.push_bound and not alive and self.steady() > AWAY:
                return info, delivered
            acks.last = acks.last or delivered
            if loop.time() > until:
                return info, acks.last
            if await acks.another(TICK):
                until = loop.time() + quiet

    async def _nak(self, stream: Stream, info: ConsumerInfo, sequences: list[int]) -> None:
        """In their order, which the server keeps. Its last delivery stands for that of each: it only checks a range."""
        delivered = info.delivered.consumer_seq if info.delivered else 0
        if sequences:
            log.info("handing back what ended pods had in hand of %s", info.name)
        with translated(f"hand back messages of {info.name}"):
            for place, sequence in enumerate(sequences, 1):
                subject = f"$JS.ACK.{stream}.{info.name}.1.{sequence}.{delivered}.0.0"
                await self.connection.nc.publish(subject, b"-NAK")
                if place % AT_ONCE == 0:
                    await flush(self.connection.nc)
            await flush(self.connection.nc)


@dataclass
class _Acks:
    """The acks of a consumer as they pass by, up to the sequence ``last``."""

    seen: set[int] = field(default_factory=set)
    last: int | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, message: Msg) -> None:
        """``$JS.ACK.STREAM.CONSUMER.N.SEQ.CSEQ.TIME.LEFT``: an ack, or one that says that it is in hand, or isn't."""
        sequence = int(message.subject.split(".")[5])
        if message.data[:4] not in (b"-NAK", b"+WPI") and (self.last is None or sequence <= self.last):
            self.seen.add(sequence)
            self._news.set()

    async def another(self, seconds: float) -> bool:
        """Whether there is one within this time."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        return self._news.is_set()


@asynccontextmanager
async def _acks(connection: Connection, stream: str, consumer: str) -> AsyncIterator[_Acks]:
    acks = _Acks()
    with translated(f"listen to the acks of {consumer}"):
        subscription = await connection.nc.subscribe(f"$JS.ACK.{stream}.{consumer}.>", cb=acks.take)
        await flush(connection.nc)
    try:
        yield acks
    finally:
        if connection.nc.is_connected:
            with translated(f"listen no more to the acks of {consumer}"):
                await subscription.unsubscribe()


def _left_replies(found: list[ConsumerInfo], trigger: str) -> set[str]:
    """The reply consumers of a trigger on which nobody listens now."""
    born = datetime.now(UTC) - YOUNG
    return {info.name for info in found if is_reply_of(info, trigger) and not info.push_bound and info.created < born}


async def keep_inputs(connection: Connection, workflow: Workflow) -> None:
    """Keep the consumers of a streaming workflow there until cancelled: whoever deletes one, it is made again.

    :raises MessagingError: NATS refuses, or the stream is gone
    """
    deleted = asyncio.Event()

    async def hear(_: Msg) -> None:
        deleted.set()

    subjects = [f"$JS.EVENT.ADVISORY.{kind}.DELETED.{workflow.live_stream}" for kind in ("STREAM", "CONSUMER")]
    with translated(f"hear what happens to {workflow.live_stream}"):
        subscriptions = [await connection.nc.subscribe(one, cb=hear) for one in (subjects[0], f"{subjects[1]}.>")]
    try:
        while True:
            mended = connection.breaks.mended
            for process in workflow.processes:
                await ensure_inputs(connection, workflow.live_stream, process)
            await _first_of(deleted, mended)
            deleted.clear()
    finally:
        if connection.nc.is_connected:
            for subscription in subscriptions:
                await subscription.unsubscribe()


async def _first_of(*events: asyncio.Event) -> None:
    """Wait for one of them, a while at most."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
