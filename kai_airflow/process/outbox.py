"""What the handler of a request publishes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from kai_airflow.messaging.errors import JetStreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from kai_airflow.messaging.codec import Payload
    from kai_airflow.messaging.publisher import Publishing
    from kai_airflow.process.output import Output


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
        self._sent: list[Publishing] = []
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
        """Give the NATS client all that was asked for. What it doesn't take stays asked for.

        :raises NatsUnavailableError: the connection is closed
        """
        async with self._turn:
            while self._asked:
                subject, data = self._asked[0]
                self._sent.append(await self._output.begin(subject, data))
                self._asked.popleft()

    async def stored(self) -> None:
        """Wait until NATS has stored all that was handed over.

        :raises JetStreamError: it refuses something
        :raises NatsUnavailableError: it doesn't answer, and nobody can tell whether it has
        """
        refused: list[JetStreamError] = []
        for publishing in self._sent:
            try:
                await publishing.stored()
            except JetStreamError as error:
                refused.append(error)
        if refused:
            raise refused[0]

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
        task.exception()  # what it couldn't hand over stays asked for, and fails again where it is told
