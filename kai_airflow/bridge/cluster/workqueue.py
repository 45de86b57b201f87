"""What has to be looked at: each thing in one hand at a time, and not all the time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

K = TypeVar("K", bound="Hashable")

REST = 0.5  # seconds between two looks at one thing, so that a quarrel over it costs little
PAUSES = (1.0, 2.0, 5.0, 10.0)  # seconds before a look that failed is tried again


class WorkQueue(Generic[K]):
    """Keys of things. One that is added while somebody has it in hand comes again afterwards, once."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._in_hand: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._rests: dict[K, float] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K, after: float = 0.0) -> None:
        """Have it looked at after so many seconds, or earlier where it was to be earlier."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + after, self._rests.get(key, 0.0))
        timer = self._timers.get(key)
        if timer and timer.when() <= due:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def retry(self, key: K) -> None:
        """Have it looked at again, the later the more often it failed."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add(key, PAUSES[min(failures, len(PAUSES) - 1)])

    async def get(self) -> K:
        """The next one; it is in hand until ``done``."""
        key = await self._queue.get()
        self._waiting.discard(key)
        self._in_hand.add(key)
        return key

    def done(self, key: K) -> None:
        """It isn't in hand any more."""
        self._in_hand.discard(key)
        self._rests[key] = asyncio.get_running_loop().time() + REST
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def went_well(self, key: K) -> None:
        """Forget how often it failed."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Nothing comes any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        if key in self._in_hand:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)
