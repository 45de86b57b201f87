"""Publishing into a stream without waiting, message for message, until it is stored."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from kai_airflow.messaging.connection import API_ANSWER
from kai_airflow.messaging.errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection

NOBODY = "503"  # the server's status where no stream takes in a subject


@dataclass(frozen=True)
class Publishing:
    """A message on its way."""

    subject: str
    answer: asyncio.Future[Msg]

    async def stored(self, seconds: float = API_ANSWER) -> None:
        """Wait so many seconds at most until a stream has it.

        :raises JetStreamError: no stream takes it
        :raises NatsUnavailableError: no answer, and nobody can tell whether one has
        """
        with translated(f"publish on {self.subject}"):
            if not await _done(self.answer, seconds):
                self.answer.cancel()  # it is forgotten
            if self.answer.cancelled():
                raise nats.errors.TimeoutError
            _check(self.answer.result())


@dataclass
class Publisher:
    """Publishes in the order in which it is called. Made by :func:`publisher`.

    JetStreamContext.publish_async would do, but never tells of a message that is refused (nats-io/nats.py issue 985).
    """

    connection: Connection
    inbox: str
    _numbers: Iterator[int] = field(default_factory=count)
    _waiting: dict[str, asyncio.Future[Msg]] = field(default_factory=dict)

    async def begin(self, subject: str, data: bytes, seconds: float = API_ANSWER) -> Publishing:
        """Send a message off; while the connection is broken, that has so many seconds to be mended.

        :raises NatsUnavailableError: it isn't
        """
        with translated(f"publish on {subject}"):
            await self._connected(seconds)
            answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
            number = str(next(self._numbers))
            self._waiting[number] = answer
            answer.add_done_callback(lambda _: self._waiting.pop(number))
            try:
                await self.connection.nc.publish(subject, data, reply=f"{self.inbox}.{number}")
            except BaseException:
                answer.cancel()
                raise
        return Publishing(subject, answer)

    async def hear(self, answer: Msg) -> None:
        """Take in the server's answer to a message."""
        waiting = self._waiting.get(answer.subject.rpartition(".")[2])
        if waiting and not waiting.done():
            waiting.set_result(answer)

    async def _connected(self, seconds: float) -> None:
        """The client would hold what is published meanwhile, up to 2 MB of it."""
        nc, mended = self.connection.nc, self.connection.breaks.mended
        if not (nc.is_connected or nc.is_closed):
            waiting = asyncio.create_task(mended.wait())
            try:
                if not await _done(waiting, seconds):
                    raise nats.errors.TimeoutError
            finally:
                waiting.cancel()


async def publisher(connection: Connection) -> Publisher:
    """One that hears what becomes of its messages. Raises NatsUnavailableError."""
    made = Publisher(connection, connection.nc.new_inbox())
    with translated("subscribe to the answers"):
        await connection.nc.subscribe(f"{made.inbox}.*", cb=made.hear)
    return made


async def _done(what: asyncio.Future[Any], seconds: float) -> bool:
    """Wait in halves: where the event loop was blocked for the first, what has come meanwhile is read in the second."""
    for _ in range(2):
        if not what.done():
            await asyncio.wait((what,), timeout=seconds / 2)
    return what.done()


def _check(answer: Msg) -> None:
    if answer.headers and answer.headers.get(Header.STATUS) == NOBODY:
        raise NoStreamResponseError
    said = json.loads(answer.data)
    if "error" in said:
        raise APIError.from_error(said["error"])
