"""The loop of a process: deliveries come in from every input, and are handled one after the other."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig, DeliverPolicy

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.codec import Payload, decode
from kai_airflow.messaging.connection import Cancels
from kai_airflow.messaging.errors import BadMessageError, JetStreamError, NatsUnavailableError, translated
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS
from kai_airflow.plan import names
from kai_airflow.process.logs import REQUEST_ID
from kai_airflow.process.outbox import Outbox
from kai_airflow.process.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.output import Output
    from kai_airflow.process.settings import Settings

MAX_ERROR = 10_000  # characters of an ERROR message's text
AHEAD = 8  # requests whose outputs NATS may be storing while the next one is handled
SLOW = 0.005  # seconds; a round trip to NATS takes less


@dataclass(frozen=True)
class Handled:
    """A request whose handler has returned; ``error`` is what went wrong."""

    delivery: Msg
    request_id: str
    outbox: Outbox
    error: str | None


@dataclass
class Loop:
    """Subscribes, hands over what comes in, one request at a time, and acks; until ``stop`` is set.

    While NATS stores the outputs of a request, the next one is handled.
    """

    told: Settings
    connection: Connection
    output: Output
    handle: Callable[[Request], Awaitable[None]]
    stop: asyncio.Event
    _inbox: asyncio.Queue[Msg | None] = field(default_factory=asyncio.Queue)  # None: look up, something else happened
    _handled: asyncio.Queue[Handled] = field(default_factory=lambda: asyncio.Queue(AHEAD))
    _failure: Exception | None = None

    def __post_init__(self) -> None:
        self.log = logging.getLogger(self.told.process)

    async def run(self) -> None:
        """Run until told to stop; the request in hand is finished, those that waited go back to their consumers.

        :raises NatsUnavailableError: the connection is closed for good, or an output could not be published
        :raises JetStreamError: a subscription or an ERROR message is refused
        """
        beside = [asyncio.create_task(self._wake(event)) for event in (self.stop, self.connection.closed)]
        beside.append(asyncio.create_task(self._ack_all()))
        try:
            subscriptions = [await self._subscribe(subject) for subject in self.told.inputs]
            await self._work()
            await self._leave(subscriptions)
        finally:
            for task in beside:
                task.cancel()

    async def _wake(self, event: asyncio.Event) -> None:
        await event.wait()
        self._inbox.put_nowait(None)

    async def _work(self) -> None:
        while not self.stop.is_set():
            self._check()
            delivery = await self._inbox.get()
            if delivery is not None:
                await self._receive(delivery)

    async def _leave(self, subscriptions: list[JetStreamContext.PushSubscription]) -> None:
        await self._handled.join()
        self._check()
        if not self.connection.nc.is_connected:
            return  # what waits is given back on our behalf, as after a crash
        with translated("leave the inputs"):
            # Then all that the server has sent is here.
            await asyncio.gather(*(subscription.drain() for subscription in subscriptions))  # type: ignore[no-untyped-call]
            while not self._inbox.empty():
                if delivery := self._inbox.get_nowait():
                    await delivery.nak()  # it would wait for 22 hours otherwise

    def _check(self) -> None:
        if self._failure:
            raise self._failure
        if self.connection.closed.is_set():
            raise NatsUnavailableError("NATS: the connection is closed for good. Remedy: see nats-server's log.")

    async def _subscribe(self, subject: names.Subject) -> JetStreamContext.PushSubscription:
        consumer = names.consumer(subject, self.told.process)
        # A consumer that exists is bound to as it is. Always the same delivery subject: so replicas that start together
        # ask for the same consumer.
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW, ack_wait=ACK_WAIT_SECONDS, deliver_subject=f"_INBOX.{consumer}"
        )
        with translated(f"subscribe to {subject} in stream {self.told.stream}"):
            subscription = await self.connection.js.subscribe(
                subject, consumer, self._inbox.put, stream=self.told.stream, config=config, manual_ack=True
            )
        self.log.info("listening to %s as %s", subject, consumer)
        return subscription

    async def _receive(self, delivery: Msg) -> None:
        began = time.monotonic()
        handled = await self._handle(delivery)
        await self._handled.put(handled)
        # An ERROR message comes before the next request's outputs. And to go ahead of NATS gains nothing behind a slow
        # handler, but keeps the event loop from what it has to do besides.
        if handled.error is not None or time.monotonic() - began > SLOW:
            await self._handled.join()

    async def _handle(self, delivery: Msg) -> Handled:
        outbox = Outbox(self.output)
        try:
            message = decode(delivery.data)
        except BadMessageError as error:
            self.log.error("%s", error)
            return Handled(delivery, "", outbox, str(error))  # whose request it was nobody can know
        REQUEST_ID.set(message.request_id)
        self.log.info("request from %s", message.from_node)
        request = Request(message.request_id, message.from_node, message.payload, message.error, outbox)
        handled = Handled(delivery, request.id, outbox, await self._error(request))
        REQUEST_ID.set("")
        return handled

    async def _error(self, request: Request) -> str | None:
        """Let the handler handle a request; what goes wrong. Where NATS is lost nobody can tell: the process ends."""
        cancels = Cancels()
        try:
            try:
                await self.handle(request)
            finally:
                await request.outbox.hand_over()
        except NatsUnavailableError:
            raise
        except KaiAirflowError as error:
            self.log.error("%s", error)
            return str(error)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                cancels.heed()  # ours; otherwise that of something that the handler awaits
            self.log.exception("the handler failed")
            return f"{type(error).__name__}: {error}"
        return None

    async def _ack_all(self) -> None:
        while True:
            handled = await self._handled.get()
            try:
                if not self._failure:
                    await self._ack(handled)
            except Exception as error:  # noqa: BLE001  # raised where requests are handled
                self._failure = error
                self._inbox.put_nowait(None)
            finally:
                self._handled.task_done()

    async def _ack(self, handled: Handled) -> None:
        """Ack once all is stored. Then an ERROR message where something went wrong: in this order, as the SDKs do."""
        error = handled.error
        try:
            await handled.outbox.stored()
        except JetStreamError as refused:
            self.log.error("%s", refused, extra={"request_id": handled.request_id})
            error = error or str(refused)
        with translated("ack a message"):
            await handled.delivery.ack()
        if error is not None:
            await self._complain(handled.request_id, error)

    async def _complain(self, request_id: str, error: str) -> None:
        readable = error[:MAX_ERROR].encode(errors="replace").decode()
        await self.output.publish(self.output.subject, self.output.encoded(request_id, Payload(), readable))
