"""Waiting for what a pod needs, until it is there or the pod is stopped."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kai_airflow.local.kubernetes.status import NotReadyError

LOOK_AGAIN = 1.0
"""Seconds between two looks at what nobody announces: the image map, ports of other programs."""

T = TypeVar("T")


class Patience:
    """The waits of one pod."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self._news = asyncio.Event()

    def look_again(self) -> None:
        """Something that is waited for may have changed."""
        self._news.set()

    async def until(self, attempt: Callable[[], Awaitable[T]], tell: Callable[[NotReadyError], None]) -> T | None:
        """What the attempt gives once it no longer raises NotReadyError; None where the pod is stopped first."""
        while not self.stopped.is_set():
            self._news.clear()
            try:
                return await self._unless_stopped(attempt())
            except NotReadyError as wait:
                tell(wait)
            await self._unless_stopped(_waited(self._news, LOOK_AGAIN))
        return None

    async def pause(self, seconds: float) -> None:
        """Wait, or until the pod is stopped."""
        await _waited(self.stopped, seconds)

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.stopped.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stop.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)  # what it began is undone


async def _waited(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
