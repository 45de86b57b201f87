"""What waits for messages in the triggerer: for assets, without end; for a sensor, until the first."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import Cancels
from kai_airflow.messaging.errors import MessagingError, translated
from kai_airflow.nats.address import DEFAULT_CONN_ID
from kai_airflow.nats.consumer import ACK_WAIT, Source, opened, received
from kai_airflow.nats.hook import NatsHook
from kai_airflow.nats.messages import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Sequence

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection

log = logging.getLogger(__name__)

IN_HAND = 256  # messages that Airflow may have to store at once; the triggerer gives up on a trigger with 1024
AGAIN = 10.0  # seconds before what went wrong is tried again
_ANSWER = 5.0  # seconds in which JetStream must have taken an ack
# Seconds before which a sensor's trigger never fires: see kai_airflow.operators.deferred.
_SOONEST = 2 * conf.getint("workers", "min_heartbeat_interval")


class NatsTrigger(BaseEventTrigger):
    """Fires for each message of a consumer: for an ``AssetWatcher``, or through ``MessageQueueTrigger``.

    A message is acked when Airflow has stored its event, and not before: whatever dies until then, it comes again. So
    an event may come twice, and carries stream and sequence to tell by.

    :param stream: the stream
    :param durable: its consumer, made where it is missing
    :param subject: only messages of this subject, for a consumer that is made
    :param nats_conn_id: the Airflow connection
    :param ack_wait: for a consumer that is made: seconds after which a message comes again
    """

    def __init__(
        self,
        *,
        stream: str,
        durable: str,
        subject: str = "",
        nats_conn_id: str = DEFAULT_CONN_ID,
        ack_wait: float = ACK_WAIT,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = Source(stream, durable, subject, ack_wait)
        self.nats_conn_id = nats_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's form of a trigger."""
        return _classpath(self), {**asdict(self.source), "nats_conn_id": self.nats_conn_id}

    def shared_stream_key(self) -> Hashable:
        """Triggers on the same consumer share its messages: each gets all of them."""
        return ("nats", self.nats_conn_id, self.source)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """The half that talks to NATS, and acks."""
        return Messages(kwargs["nats_conn_id"], _source(kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Fire for every message."""
        async for message in shared_stream:
            yield TriggerEvent(message)  # type: ignore[no-untyped-call]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Only for a triggerer that doesn't share streams: nobody would tell when an event is stored."""
        for _ in ():  # an async generator, as the triggerer expects
            yield TriggerEvent(None)  # type: ignore[no-untyped-call]
        raise KaiAirflowError("this triggerer doesn't share streams. Remedy: Airflow 3.3 or newer.")


class Messages(SharedStreamProducer):
    """The messages of one consumer, each acked when Airflow has stored what came of it.

    What is wrong is logged and tried again: Airflow would give up on a trigger that fails, or restart it without pause.
    """

    def __init__(self, conn_id: str, source: Source) -> None:
        self._hook = NatsHook(conn_id)
        self._source = source
        self._room = asyncio.Semaphore(IN_HAND)
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Any, Msg]]:
        """Messages as JSON, each with the one to ack."""
        cancels = Cancels()
        while True:
            try:
                connection = await self._connected()
                subscription = await opened(connection, self._source)
                cancels.heed()
                while True:
                    message = await received(connection, subscription)
                    await self._room.acquire()
                    yield as_json(message), message
            except KaiAirflowError as error:
                cancels.heed()
                log.error("%s Trying again in %g s.", error, AGAIN)
                await asyncio.sleep(AGAIN)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Ack what was stored, refuse for good what was rejected, and have the rest delivered again."""
        await asyncio.gather(*map(self._answer, batch))

    async def aclose(self) -> None:
        """Close the connection: only now, since what has been stored is acked until the end."""
        await self._stack.aclose()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed.is_set():
            await self._stack.aclose()
            self._connection = await self._stack.enter_async_context(self._hook.get_conn())
        return self._connection

    async def _answer(self, item: AdvanceItem) -> None:
        self._room.release()
        message, outcome = item.broker_payload, item.outcome
        try:
            with translated(f"answer for message {message.reply}"):
                if outcome.is_clean:
                    await message.ack_sync(timeout=_ANSWER)
                elif outcome.rejected and not outcome.failed:
                    await message.term()
                else:
                    await message.nak(delay=AGAIN)
        except MessagingError as error:
            log.warning("%s The message comes again.", error)


class NatsMessageTrigger(BaseTrigger):
    """Fires once, with the first message of a consumer and where to ack it: the task does, when it has it."""

    def __init__(
        self, *, stream: str, durable: str, subject: str, nats_conn_id: str, ack_wait: float = ACK_WAIT
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = Source(stream, durable, subject, ack_wait)
        self.nats_conn_id = nats_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's form of a trigger."""
        return _classpath(self), {**asdict(self.source), "nats_conn_id": self.nats_conn_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once; what goes wrong fails the task."""
        began = time.monotonic()
        try:
            async with NatsHook(self.nats_conn_id).get_conn() as connection:
                message = await received(connection, await opened(connection, self.source))
            found: dict[str, Any] = {"message": as_json(message), "ack": message.reply}
        except KaiAirflowError as error:
            found = {"error": str(error)}
        await asyncio.sleep(began + _SOONEST - time.monotonic())
        yield TriggerEvent(found)  # type: ignore[no-untyped-call]


def _classpath(trigger: BaseTrigger) -> str:
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"


def _source(kwargs: dict[str, Any]) -> Source:
    return Source(**{key: value for key, value in kwargs.items() if key != "nats_conn_id"})
