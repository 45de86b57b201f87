"""The loop of a process: deliveries come in from every input, and are handled one after the other."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nats.js.api import ConsumerConfig, DeliverPolicy

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.codec import Payload, decode
from kai_airflow.messaging.errors import BadMessageError, JetStreamError, NatsUnavailableError, translated
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS
from kai_airflow.plan import names
from kai_airflow.process.logs import REQUEST_ID
from kai_airflow.process.outbox import Outbox
from kai_airflow.process.request import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.output import Output
    from kai_airflow.process.settings import Settings

MAX_ERROR = 10_000  # characters of an ERROR message's text
AHEAD = 64  # requests whose outputs NATS may still be storing while the next one is handled


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

    def __post_init__(self) -> None:
        self.log = logging.getLogger(self.told.process)
        self._turn = asyncio.Lock()  # of all inputs' deliveries one is handled at a time
        self._handled: asyncio.Queue[Handled] = asyncio.Queue(AHEAD)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Run until told to stop; the request in hand is finished, those that waited go back to their consumers.

        :raises NatsUnavailableError: the connection is closed for good, or an output could not be published
        :raises JetStreamError: a subscription or an ERROR message is refused
        """
        acking = asyncio.create_task(self._ack_all())
        try:
            subscriptions = [await self._subscribe(subject) for subject in self.told.inputs]
            await self._end()
            await self._leave(subscriptions)
        finally:
            acking.cancel()
        if self._failed.done():
            self._failed.result()

    async def _end(self) -> None:
        """Wait for what ends it."""
        waiting = [asyncio.create_task(event.wait()) for event in (self.stop, self.connection.closed)]
        ends: list[asyncio.Future[Any]] = [*waiting, self._failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        if self._failed.done():
            self._failed.result()
        if not self.stop.is_set():
            raise NatsUnavailableError("NATS: the connection is closed for good. Remedy: see nats-server's log.")

    async def _leave(self, subscriptions: list[JetStreamContext.PushSubscription]) -> None:
        """What the client still holds goes through :meth:`_take`; where NATS is out of reach, what is in hand alone."""
        if self.connection.nc.is_connected:
            with translated("leave the inputs"):
                await asyncio.gather(*(subscription.drain() for subscription in subscriptions))  # type: ignore[no-untyped-call]
        async with self._turn:
            await self._handled.join()

    async def _subscribe(self, subject: names.Subject) -> JetStreamContext.PushSubscription:
        consumer = names.consumer(subject, self.told.process)
        # A consumer that exists is bound to as it is. Always the same delivery subject: so replicas that start together
        # ask for the same consumer.
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW, ack_wait=ACK_WAIT_SECONDS, deliver_subject=f"_INBOX.{consumer}"
        )
        with translated(f"subscribe to {subject} in stream {self.told.stream}"):
            subscription = await self.connection.js.subscribe(
                subject,
                consumer,
                self._take,
                stream=self.told.stream,
                config=config,
                manual_ack=True,
                pending_msgs_limit=0,  # none: what the client would drop comes again in 22 hours
                pending_bytes_limit=0,
            )
        self.log.info("listening to %s as %s", subject, consumer)
        return subscription

    async def _take(self, delivery: Msg) -> None:
        async with self._turn:
            with self._failing():
                if self.stop.is_set():
                    with translated("give a message back"):
                        await delivery.nak()  # it would wait for 22 hours otherwise
                elif not self._failed.done():
                    await self._receive(delivery)

    async def _receive(self, delivery: Msg) -> None:
        handled = await self._handle(delivery)
        await self._handled.put(handled)
        if handled.error is not None:
            await self._handled.join()  # its ERROR message comes before the next one's outputs

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
        except Exception as error:
            self.log.exception("the handler failed")
            return f"{type(error).__name__}: {error}"
        return None

    async def _ack_all(self) -> None:
        while True:
            handled = await self._handled.get()
            with self._failing():
                if not self._failed.done():
                    await self._ack(handled)
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

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What is raised in here ends all."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # run raises it
            if not self._failed.done():
                self._failed.set_exception(error)
