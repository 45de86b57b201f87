"""The loop of a process: deliveries come in from every input, and are handled one by one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig, DeliverPolicy

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.codec import Payload, decode
from kai_airflow.messaging.errors import BadMessageError, NatsUnavailableError, translated
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS
from kai_airflow.plan import names
from kai_airflow.process.logs import REQUEST_ID
from kai_airflow.process.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.request import Outbox
    from kai_airflow.process.settings import Settings

MAX_ERROR = 10_000  # characters of an ERROR message's text


@dataclass
class Loop:
    """Subscribes, hands over what comes in, acks; until ``stop`` is set."""

    told: Settings
    connection: Connection
    outbox: Outbox
    handle: Callable[[Request], Awaitable[None]]
    stop: asyncio.Event
    inbox: asyncio.Queue[Msg | None] = field(default_factory=asyncio.Queue)  # None: look up, something else happened

    def __post_init__(self) -> None:
        self.log = logging.getLogger(self.told.process)

    async def run(self) -> None:
        """Run until told to stop; the request in hand is finished, those that waited go back to their consumers.

        :raises NatsUnavailableError: the connection is closed for good, or an output could not be published
        :raises JetStreamError: a subscription or an ERROR message is refused
        """
        waking = [asyncio.create_task(self._wake(event)) for event in (self.stop, self.connection.closed)]
        try:
            subscriptions = [await self._subscribe(subject) for subject in self.told.inputs]
            await self._work()
            await self._leave(subscriptions)
        finally:
            for task in waking:
                task.cancel()

    async def _wake(self, event: asyncio.Event) -> None:
        await event.wait()
        self.inbox.put_nowait(None)

    async def _work(self) -> None:
        while not self.stop.is_set():
            if self.connection.closed.is_set():
                raise NatsUnavailableError("NATS: the connection is closed for good. Remedy: see nats-server's log.")
            delivery = await self.inbox.get()
            if delivery is not None:
                await self._receive(delivery)

    async def _leave(self, subscriptions: list[JetStreamContext.PushSubscription]) -> None:
        with translated("leave the inputs"):
            for subscription in subscriptions:
                await subscription.unsubscribe()
            while not self.inbox.empty():
                if delivery := self.inbox.get_nowait():
                    await delivery.nak()  # it would wait for 22 hours otherwise

    async def _subscribe(self, subject: names.Subject) -> JetStreamContext.PushSubscription:
        consumer = names.consumer(subject, self.told.process)
        # A consumer that exists is bound to as it is. Always the same delivery subject: so replicas that start together
        # ask for the same consumer.
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW, ack_wait=ACK_WAIT_SECONDS, deliver_subject=f"_INBOX.{consumer}"
        )
        with translated(f"subscribe to {subject} in stream {self.told.stream}"):
            subscription = await self.connection.js.subscribe(
                subject, consumer, self.inbox.put, stream=self.told.stream, config=config, manual_ack=True
            )
        self.log.info("listening to %s as %s", subject, consumer)
        return subscription

    async def _receive(self, delivery: Msg) -> None:
        try:
            message = decode(delivery.data)
        except BadMessageError as error:
            self.log.error("%s", error)
            await self._fail(delivery, "", str(error))  # whose request it was nobody can know
            return
        REQUEST_ID.set(message.request_id)
        self.log.info("request from %s", message.from_node)
        request = Request(message.request_id, message.from_node, message.payload, message.error, self.outbox)
        await self._answer(delivery, request)
        REQUEST_ID.set("")

    async def _answer(self, delivery: Msg, request: Request) -> None:
        """Ack once handled and published. Where NATS is lost nobody can tell how it ended: no ack, the process ends."""
        try:
            try:
                await self.handle(request)
            finally:
                await self.outbox.settle()
        except NatsUnavailableError:
            raise
        except KaiAirflowError as error:
            self.log.error("%s", error)
            await self._fail(delivery, request.id, str(error))
        except Exception as error:
            self.log.exception("the handler failed")
            await self._fail(delivery, request.id, f"{type(error).__name__}: {error}")
        else:
            await self._ack(delivery)

    async def _fail(self, delivery: Msg, request_id: str, text: str) -> None:
        """Ack first, then an ERROR message: in this order, as the SDKs do."""
        await self._ack(delivery)
        readable = text[:MAX_ERROR].encode(errors="replace").decode()
        await self.outbox.put(request_id, "", Payload(), error=readable)

    async def _ack(self, delivery: Msg) -> None:
        with translated("ack a message"):
            await delivery.ack()
