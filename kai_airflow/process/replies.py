"""What comes back to a trigger: a consumer of its own for each input, and who waits for what."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kai_airflow.messaging.codec import MessageType, decode
from kai_airflow.messaging.connection import GOODBYE
from kai_airflow.messaging.errors import BadMessageError, MessagingError, translated
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS, IDLE_SECONDS
from kai_airflow.plan import names
from kai_airflow.process.errors import ProcessError
from kai_airflow.process.request import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.settings import Settings

AGAIN = 1.0  # seconds until consumers are made again where that failed


class Waiting:
    """Who waits for a reply to which request."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Reply]] = {}

    @contextmanager
    def reply_to(self, request_id: str) -> Iterator[asyncio.Future[Reply]]:
        """What will hold the reply to a request; the block sends the request, and waits.

        :raises ProcessError: somebody waits for one with this id already
        """
        if request_id in self._waiting:
            raise ProcessError(f"request {request_id} waits for its reply already. Remedy: give each an id of its own.")
        reply = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            yield reply
        finally:
            self._waiting.pop(request_id, None)

    def take(self, reply: Reply) -> bool:
        """Hand a reply to who waits for it; False where nobody does. Of several the first counts."""
        waiting = self._waiting.pop(reply.id, None)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(reply)
        return True


class Input:
    """One of a trigger's inputs. Its consumer is this running copy's own: each copy gets all replies."""

    def __init__(self, told: Settings, connection: Connection, subject: names.Subject, waiting: Waiting) -> None:
        self._stream = told.stream
        self._consumer = names.reply_consumer(subject, told.process, str(uuid.uuid4()))
        self._subject = subject
        self._connection = connection
        self._waiting = waiting
        self._behind = 0  # the sequence behind which it hears, until a message came
        self._last: Msg | None = None
        self._log = logging.getLogger(told.process)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear what is published from now on; in the end the consumer is removed, where NATS answers.

        :raises MessagingError: NATS is out of reach, or refuses the consumer
        """
        with translated(f"subscribe to {self._subject}"):
            subscription = await self._connection.nc.subscribe(f"_INBOX.{self._consumer}", cb=self._receive)
            await self._make(opt_start_seq=None)
        self._log.info("listening to %s as %s", self._subject, self._consumer)
        yield
        try:
            async with asyncio.timeout(GOODBYE):
                with translated(f"remove consumer {self._consumer}"):
                    await subscription.unsubscribe()
                    await self._remove()
        except (MessagingError, TimeoutError) as error:
            self._log.warning("consumer %s stays behind: %s", self._consumer, str(error) or "no answer in time")

    async def make_again(self) -> None:
        """Hear again what may have been sent into a connection that was broken: that is never delivered again, or in
        22 hours. Raises MessagingError.
        """
        with translated(f"subscribe to {self._subject} again"):
            last = (await self._connection.js.stream_info(self._stream)).state.last_seq
            await self._remove()
            seen = self._last.metadata.sequence.stream if self._last else self._behind
            await self._make(opt_start_seq=min(seen, last) + 1)  # a stream that was made anew counts from 1

    async def _make(self, opt_start_seq: int | None) -> None:
        policy = DeliverPolicy.NEW if opt_start_seq is None else DeliverPolicy.BY_START_SEQUENCE
        config = ConsumerConfig(
            durable_name=self._consumer,
            deliver_subject=f"_INBOX.{self._consumer}",
            deliver_policy=policy,
            opt_start_seq=opt_start_seq,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            filter_subject=self._subject,
            inactive_threshold=IDLE_SECONDS,
            mem_storage=True,  # it is made again after a restart anyway, and costs a third less
        )
        info = await self._connection.js.add_consumer(self._stream, config)
        if opt_start_seq is None and info.delivered:
            self._behind = info.delivered.stream_seq  # NEW: all before this is somebody else's

    async def _remove(self) -> None:
        with suppress(NotFoundError):
            await self._connection.js.delete_consumer(self._stream, self._consumer)

    async def _receive(self, delivery: Msg) -> None:
        await delivery.ack()
        self._last = delivery
        try:
            message = decode(delivery.data)
        except BadMessageError as error:
            self._log.error("a reply on %s: %s", self._subject, error)
            return
        error_text = (message.error or "no text") if message.type is MessageType.ERROR else ""
        if not self._waiting.take(Reply(message.request_id, message.from_node, message.payload, error_text)):
            self._log.debug("nobody waits for a reply to request %s", message.request_id)


@asynccontextmanager
async def listening(told: Settings, connection: Connection, waiting: Waiting) -> AsyncIterator[None]:
    """Take in what comes on all inputs of a trigger, also after nats-server was restarted. Raises MessagingError."""
    inputs = [Input(told, connection, subject, waiting) for subject in told.inputs]
    keeping = asyncio.create_task(_keep(connection, inputs, logging.getLogger(told.process)))
    try:
        async with AsyncExitStack() as stack:
            for one in inputs:
                await stack.enter_async_context(one.listening())
            yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(connection: Connection, inputs: list[Input], log: logging.Logger) -> None:
    mended = connection.breaks.mended
    while True:
        await mended.wait()
        mended = connection.breaks.mended  # what breaks while we are at it is made again as well
        await _make_again(inputs, log)


async def _make_again(inputs: list[Input], log: logging.Logger) -> None:
    while True:
        try:
            for one in inputs:
                await one.make_again()
        except MessagingError as error:
            log.warning("%s", error)
            await asyncio.sleep(AGAIN)
        else:
            return
