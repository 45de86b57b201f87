"""What comes in: a request that a process has in hand, with what it publishes for it, or a reply."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging.codec import Json, Payload, pack, unpack
from kai_airflow.process.output import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from kai_airflow.messaging.connection import Connection


@dataclass(frozen=True)
class Incoming:
    """A message that came in.

    ``sender`` is the process that published it, ``raw`` its payload as it travelled, ``error`` the text of a message
    of type ERROR, empty otherwise.
    """

    id: str
    sender: str
    raw: Payload
    error: str

    @cached_property
    def payload(self) -> Json:
        """The payload as JSON; see :func:`kai_airflow.messaging.codec.unpack`.

        :raises BadMessageError: the payload is not of the type that it says it is
        """
        return unpack(self.raw)


class Reply(Incoming):
    """What came back to a trigger for one of its requests."""


@dataclass(frozen=True)
class Request(Incoming):
    """A request that a task or exit has in hand."""

    outbox: Outbox = field(repr=False)

    def send(self, payload: Json | Payload, *, channel: str = "", request_id: str | None = None) -> Awaitable[None]:
        """Publish on this process's own subject, or on one of its channels.

        Await it in an ``async`` handler; in a plain one just call it, it returns when the message is published.
        All is published before the request is acked.

        :param payload: JSON, or a payload as it travels
        :param request_id: another request's id than this one's
        :raises PayloadError: not JSON, or a number that would not travel unchanged
        :raises MessageTooLargeError: too large for NATS even when gzipped
        :raises ProcessError: no channel can have this name
        """
        return self.outbox.put(self._id(request_id), channel, packed(payload))

    def send_error(self, text: str, *, channel: str = "", request_id: str | None = None) -> Awaitable[None]:
        """Publish a message of type ERROR; otherwise as :meth:`send`."""
        return self.outbox.put(self._id(request_id), channel, Payload(), error=text)

    def _id(self, other: str | None) -> str:
        return self.id if other is None else other


def packed(payload: Json | Payload) -> Payload:
    """A payload as it travels. Raises PayloadError."""
    return payload if isinstance(payload, Payload) else pack(payload)


class Outbox:
    """Publishes, one after the other, in the order in which it was asked.

    What is awaited at once is published without a task of its own, so that it travels together with the ack before
    it; what isn't, all the same, as soon as the handler lets the event loop do something else.
    """

    def __init__(self, connection: Connection, process: str, output: str, limit: int) -> None:
        self._output = Output(connection, process, output, limit)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._turn = asyncio.Lock()
        self._asked: list[_Sending] = []  # and not begun
        self._begun: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []

    def put(self, request_id: str, channel: str, payload: Payload, error: str | None = None) -> Awaitable[None]:
        """Publish from the event loop's thread or from another, which waits until it is done."""
        subject, data = self._output.on(channel), self._output.encoded(request_id, payload, error)
        if threading.get_ident() != self._thread:
            asyncio.run_coroutine_threadsafe(self._publish(subject, data), self._loop).result()
            return _Done()
        if not self._asked:
            self._loop.call_soon(self._begin)
        self._asked.append(_Sending(self, subject, data))
        return self._asked[-1]

    async def finish(self, sending: _Sending) -> None:
        """Publish what was asked for, after all that was asked for before. Raises MessagingError."""
        if self._asked == [sending] and not self._begun:
            self._asked = []
            await self._publish(sending.subject, sending.data)
            return
        self._begin()
        if sending.task:
            await sending.task

    async def settle(self) -> None:
        """Wait for what was not awaited.

        :raises MessagingError: something could not be published, whether or not the handler knows
        """
        self._begin()
        while self._begun:
            await asyncio.wait(self._begun)
        failed, self._failed = self._failed, []
        for error in failed:
            raise error

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        for sending in asked:
            sending.task = self._loop.create_task(self._publish(sending.subject, sending.data))
            self._begun.add(sending.task)
            sending.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # settle() tells of it, also where nobody awaits the task

    async def _publish(self, subject: str, data: bytes) -> None:
        try:
            async with self._turn:
                await self._output.publish(subject, data)
        except BaseException as error:
            self._failed.append(error)
            raise


class _Sending:
    """What ``send`` gives: awaited, it is published."""

    __slots__ = ("data", "outbox", "subject", "task")

    def __init__(self, outbox: Outbox, subject: str, data: bytes) -> None:
        self.outbox, self.subject, self.data = outbox, subject, data
        self.task: asyncio.Task[None] | None = None

    def __await__(self) -> Generator[Any, None, None]:
        return self.outbox.finish(self).__await__()


class _Done:
    """What a thread gets, which has waited already."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
