"""Publishing into a stream without waiting, message for message, until it is stored."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import nats.errors
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from kai_airflow.messaging.connection import API_ANSWER
from kai_airflow.messaging.errors import translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection

T = TypeVar("T")

# Messages that may be on their way. A stream refuses what comes while 10,000 wait to be stored (nats-server's
# max_buffered_msgs), from all its publishers.
ON_THEIR_WAY = 256
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
            _check(await _in_time(self.answer, seconds))


@dataclass
class Publisher:
    """Publishes in the order in which it is called. Made by :func:`publisher`.

    JetStreamContext.publish_async would do, but never tells of a message that is refused (nats-io/nats.py issue 985).
    """

    connection: Connection
    inbox: str
    _numbers: Iterator[int] = field(default_factory=count)
    _waiting: dict[str, asyncio.Future[Msg]] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ON_THEIR_WAY))

    async def begin(self, subject: str, data: bytes) -> Publishing:
        """Send a message off, once few enough are on their way.

        :raises NatsUnavailableError: the connection is closed, or nothing that is on its way was answered in time
        """
        with translated(f"publish on {subject}"):
            await _in_time(self._room.acquire(), API_ANSWER)
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._over(number))
        try:
            with translated(f"publish on {subject}"):
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

    def _over(self, number: str) -> None:
        del self._waiting[number]
        self._room.release()


async def publisher(connection: Connection) -> Publisher:
    """One that hears what becomes of its messages. Raises NatsUnavailableError."""
    made = Publisher(connection, connection.nc.new_inbox())
    with translated("subscribe to the answers"):
        await connection.nc.subscribe(f"{made.inbox}.*", cb=made.hear)
    return made


async def _in_time(what: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await what
    except TimeoutError as error:
        raise nats.errors.TimeoutError from error


def _check(answer: Msg) -> None:
    if answer.headers and answer.headers.get(Header.STATUS) == NOBODY:
        raise NoStreamResponseError
    said = json.loads(answer.data)
    if "error" in said:
        raise APIError.from_error(said["error"])
