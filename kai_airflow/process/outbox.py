"""What the handler of a request publishes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging.errors import JetStreamError, NatsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from kai_airflow.messaging.codec import Payload
    from kai_airflow.messaging.publisher import Publishing
    from kai_airflow.process.output import Output

# Outputs of a request that may be on their way. A stream refuses what comes while 10,000 wait to be stored, from all
# who publish there (nats-server's max_buffered_msgs).
ON_THEIR_WAY = 256


class Outbox:
    """The outputs of one request, in the order in which they were asked for.

    They are handed to the NATS client when one of them is awaited, otherwise as soon as the handler lets the event loop
    do something else. Only the request's ack waits until NATS has stored them.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._turn = asyncio.Lock()
        self._asked: deque[tuple[str, bytes]] = deque()  # subject and message, not handed over
        self._sent: deque[Publishing] = deque()
        self._refused: JetStreamError | None = None
        self._failure: NatsUnavailableError | None = None
        self._begun: asyncio.Task[None] | None = None

    def put(self, request_id: str, channel: str, payload: Payload, error: str | None = None) -> Awaitable[None]:
        """Publish from the event loop's thread or from another, which waits until it is handed over."""
        subject, data = self._output.on(channel), self._output.encoded(request_id, payload, error)
        if threading.get_ident() != self._thread:
            asyncio.run_coroutine_threadsafe(self._put(subject, data), self._loop).result()
            return _Done()
        if not self._asked:
            self._loop.call_soon(self._begin)
        self._asked.append((subject, data))
        return _Sending(self)

    async def hand_over(self) -> None:
        """Give the NATS client all that was asked for.

        :raises NatsUnavailableError: it takes nothing, or has no answer to what it took
        """
        async with self._turn:
            try:
                while self._asked:
                    self._sent.append(await self._output.begin(*self._asked.popleft()))
                    await self._confirm(ON_THEIR_WAY)
            except NatsUnavailableError as error:
                self._failure = error
                raise

    async def stored(self) -> None:
        """Wait until NATS has stored all that was handed over.

        :raises JetStreamError: it refused something
        :raises NatsUnavailableError: nobody can tell, whether or not the handler was told
        """
        async with self._turn:
            if not self._failure:
                await self._confirm(0)
        if problem := self._failure or self._refused:
            raise problem

    async def _confirm(self, rest: int) -> None:
        """Wait until no more than so many are on their way."""
        while len(self._sent) > rest:
            try:
                await self._sent[0].stored()
            except JetStreamError as error:
                self._refused = self._refused or error
            self._sent.popleft()

    async def _put(self, subject: str, data: bytes) -> None:
        self._asked.append((subject, data))
        await self.hand_over()

    def _begin(self) -> None:
        if self._asked:
            self._begun = self._loop.create_task(self.hand_over())
            self._begun.add_done_callback(_ended)


class _Sending:
    """What ``send`` gives: awaited, it is handed over."""

    __slots__ = ("outbox",)

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def __await__(self) -> Generator[Any, None, None]:
        return self.outbox.hand_over().__await__()


class _Done:
    """What a thread gets, which has waited already."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # stored() tells
