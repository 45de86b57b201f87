"""Messages of a durable consumer, in batches: asked for, never pushed, and a silence is noticed.

The server says every few seconds that it has nothing (a heartbeat), so that no message and no answer are told apart:
a connection may look healthy for hours on which nothing arrives any more.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nats.errors

from kai_airflow.messaging.cancelling import heed_cancel
from kai_airflow.messaging.errors import MessagingError, NoConsumerError, SilentError, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection

EXPIRES = 30.0  # seconds that a question waits at the server
HEARTBEAT = 5.0  # seconds between its signs of life
SILENCE = 2.5 * HEARTBEAT  # seconds without any
ANSWER = 5.0  # seconds for an answer that is due at once
TAKEN_IN = 1.0  # seconds for an answer that nothing depends on
REFUSED = 1.0  # seconds until a server that refused a question (too many wait, no leader) is asked again

_STATUS = "Status"
_HEARTBEAT, _GONE, _NOBODY = "100", "409", "503"
_NS = 1_000_000_000
_SHORT = 9  # parts of an ack subject without domain and account


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of a stream that a consumer was given: to be acked, or handed back. ``published``: µs since 1970.

    ``number`` counts what the consumer was given, ``left`` is what it has for us behind this.
    """

    subject: str
    data: bytes
    sequence: int
    attempts: int
    published: int
    reply: str
    headers: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    left: int = 0


@dataclass
class Pull:
    """A consumer's messages. Made by :func:`pulling`; ``batch`` is for one caller at a time."""

    connection: Connection
    stream: str
    consumer: str
    heard: deque[Msg] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _inbox: str = ""

    async def batch(self, most: int, linger: float = 0.0) -> list[Delivery]:
        """Wait for a message, and take what else is there, up to so many.

        :param linger: seconds to wait for more, once there is one
        :raises NoConsumerError: there is no such consumer (any more)
        :raises SilentError: the server has nothing to say, not even that
        """
        heed_cancel()
        found = [await self._first()]
        try:
            if most > 1:
                await self._rest(found, most, linger)
        except BaseException:
            # They are the next batch's; where there is none, they go back with the rest.
            self.heard.extendleft(reversed(found))
            raise
        return [delivery(message) for message in found]

    async def ack(self, one: Delivery) -> None:
        """It is done with."""
        await self._answer(one, b"+ACK")

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have them delivered again, at once and in their order, to whoever asks.

        They come behind others that were handed back before: who wants all in order asks for all of those at once.
        The server takes answers and questions in by different ways: it has taken the last one in when this returns, so
        that who asks then isn't given a later message first.
        """
        for one in deliveries[:-1]:
            await self._answer(one, b"-NAK")
        for one in deliveries[-1:]:
            with translated(f"hand back message {one.sequence} of {self.stream}"):
                await self.connection.nc.request(one.reply, b"-NAK", timeout=TAKEN_IN)

    async def _answer(self, one: Delivery, word: bytes) -> None:
        with translated(f"answer for message {one.sequence} of {self.stream}"):
            await self.connection.nc.publish(one.reply, word)

    async def _first(self) -> Msg:
        while self.heard:  # what came too late for the last question
            if not _is_status(late := self.heard.popleft()):
                return late
        while True:
            mended = self.connection.breaks.mended
            await self._ask({"batch": 1, "expires": int(EXPIRES * _NS), "idle_heartbeat": int(HEARTBEAT * _NS)})
            while (message := await self._next(SILENCE, mended)) is not None:
                if not _is_status(message):
                    return message
                if not await self._goes_on(message):
                    break

    async def _rest(self, found: list[Msg], most: int, linger: float) -> None:
        waits = {"expires": int(linger * _NS)} if linger else {"no_wait": True}
        mended = self.connection.breaks.mended
        await self._ask({"batch": most - len(found), **waits})
        deadline = time.monotonic() + linger + ANSWER
        while len(found) < most and (left := deadline - time.monotonic()) > 0:
            try:
                message = await self._next(left, mended)
            except SilentError:
                break
            if message is None or _is_status(message):
                break
            found.append(message)

    async def hand_all_back(self) -> None:
        """What was heard and not asked for."""
        late = [delivery(message) for message in self.heard if not _is_status(message)]
        self.heard.clear()
        await self.hand_back(late)

    async def _ask(self, question: Mapping[str, object]) -> None:
        with translated(f"ask for messages of {self.stream}"):
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.consumer}"
            await self.connection.nc.publish(subject, json.dumps(question).encode(), reply=self._inbox)

    async def _next(self, seconds: float, mended: asyncio.Event) -> Msg | None:
        """What is heard next; None where the connection was made anew, and the server knows of no question."""
        if not self.heard:
            self.news.clear()
            waiting = [asyncio.ensure_future(one.wait()) for one in (self.news, mended)]
            try:
                await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
        if self.heard:  # taken only now, so that who is cancelled while waiting has taken nothing
            return self.heard.popleft()
        if mended.is_set():
            return None
        raise SilentError(self.stream, seconds)

    async def _goes_on(self, status: Msg) -> bool:
        """Whether the question still stands; one that expired, or was refused for a while, is asked again."""
        code = (status.headers or {}).get(_STATUS)
        said = (status.headers or {}).get("Description", "")
        if code == _NOBODY or (code == _GONE and "Deleted" in said):
            raise NoConsumerError(self.stream, self.consumer)
        if code == _GONE:
            await asyncio.sleep(REFUSED)
        return code == _HEARTBEAT


@asynccontextmanager
async def pulling(connection: Connection, stream: str, consumer: str) -> AsyncIterator[Pull]:
    """A subscription of its own for the messages of a consumer; what nobody took in the end is handed back."""
    pull = Pull(connection, stream, consumer)
    pull._inbox = connection.nc.new_inbox()

    async def hear(message: Msg) -> None:
        pull.heard.append(message)
        pull.news.set()

    with translated(f"listen to {stream}"):
        subscription = await connection.nc.subscribe(pull._inbox, cb=hear)
    try:
        yield pull
    finally:
        if not connection.nc.is_closed:
            # The connection is lost, and the subscription with it: the server hands back by itself, later.
            with suppress(nats.errors.Error, OSError, MessagingError):
                try:
                    await connection.nc.flush(TAKEN_IN)  # type: ignore[arg-type]  # what is on its way comes in before
                    for _ in range(subscription.pending_msgs + 1):
                        await asyncio.sleep(0)  # the client's own task hands each on
                finally:
                    await subscription.unsubscribe()
                await pull.hand_all_back()


def delivery(message: Msg) -> Delivery:
    """A message with what its ack subject tells: ``$JS.ACK[.DOMAIN.ACCOUNT].STREAM.CONSUMER.N.SEQ.CSEQ.TIME.LEFT``."""
    parts = message.reply.split(".")
    at = 2 if len(parts) == _SHORT else 4  # newer servers may add a part behind, none in between
    return Delivery(
        subject=message.subject,
        data=message.data,
        sequence=int(parts[at + 3]),
        attempts=int(parts[at + 2]),
        published=int(parts[at + 5]) // 1000,
        reply=message.reply,
        headers=message.headers or {},
        number=int(parts[at + 4]),
        left=int(parts[at + 6]),
    )


def _is_status(message: Msg) -> bool:
    """Whether it is a word of the server's. A message is to be acked, and its headers are its publisher's."""
    return not message.reply
