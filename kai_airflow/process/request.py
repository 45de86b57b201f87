"""What comes in: a request that a process has in hand, with what it publishes for it, or a reply."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from kai_airflow.messaging.codec import Json, Payload, pack, unpack
from kai_airflow.process.output import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Generator

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
    """Publishes, one after the other, in the order in which it was asked."""

    def __init__(self, connection: Connection, process: str, output: str, limit: int) -> None:
        self._output = Output(connection, process, output, limit)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._turn = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, request_id: str, channel: str, payload: Payload, error: str | None = None) -> Awaitable[None]:
        """Publish from the event loop's thread or from another, which waits until it is done."""
        sending = self._publish(self._output.on(channel), self._output.encoded(request_id, payload, error))
        if threading.get_ident() == self._thread:
            return self._begin(sending)
        asyncio.run_coroutine_threadsafe(sending, self._loop).result()
        return _Done()

    async def settle(self) -> None:
        """Wait for what was not awaited.

        :raises MessagingError: one of them could not be published
        """
        sending, self._sending = self._sending, set()
        results = await asyncio.gather(*sending, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _begin(self, sending: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        # A failed one stays for settle(), which tells; a handler may publish a million good ones.
        if not task.cancelled() and task.exception() is None:
            self._sending.discard(task)

    async def _publish(self, subject: str, data: bytes) -> None:
        async with self._turn:
            await self._output.publish(subject, data)


class _Done:
    """What a thread gets, which has waited already."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
