"""One try of a process, from its pod to its verdict: drained, while its pod is watched and read out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError
from kai_airflow.operators.pods import PodState
from kai_airflow.operators.readable import readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from kai_airflow.kube import PodName
    from kai_airflow.messaging.drain import Drain, Progress
    from kai_airflow.operators.pods import Pods

# How many of its last lines an error about a process quotes, and how much of each.
_QUOTED_LINES = 20
_QUOTED_CHARACTERS = 1000

# How long to wait for the last lines of a process that has ended, and of one whose pod is being deleted.
_ENDED_SECONDS = 5.0
_DELETED_SECONDS = 1.0


class ProcessEndedError(KaiAirflowError):
    """A process that ended, never started, or can't."""


@dataclass
class Supervisor:
    """Waits for the end of one try. ``say`` takes the process's output lines, ``note`` what happens to its pod.

    ``lines`` counts what was read of the output; the first ``said`` of them have been said before.
    """

    drain: Drain
    pods: Pods
    pod: PodName
    start_timeout: float
    say: Callable[[str], None]
    note: Callable[[str], None]
    said: int = 0
    lines: int = 0
    _state: PodState = field(default=PodState("Pending"))
    _leaving: bool = False
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] = field(init=False)
    _last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_QUOTED_LINES))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read out the process while the block lasts, and a moment longer: leave it once the pod is being deleted."""
        async with _beside(self._read_out()) as self._reading:
            try:
                yield
            finally:
                self._leaving = True
                await asyncio.wait([self._reading], timeout=_DELETED_SECONDS if self._begun.is_set() else 0)

    async def until_done(self) -> bool:
        """Return when all that was fed is acked and nothing more is coming: True.

        Or when the process ended by itself with exit code 0 and had never subscribed, as an image that speaks no NATS
        does: False.

        :raises ProcessEndedError: the process ended before, or didn't subscribe within ``start_timeout`` seconds
        :raises KubeError: the pod was deleted, or the API stayed out of reach
        :raises MessagingError: NATS can't say any more how far the process is
        """
        try:
            async with _beside(self._watch()) as watching:
                return await self._until_done(watching)
        except ProcessEndedError as error:
            await asyncio.wait([self._reading], timeout=_ENDED_SECONDS if self._state.ended else 0)
            raise ProcessEndedError(f"{error} {self._quoted()}") from error

    async def _until_done(self, watching: asyncio.Task[None]) -> bool:
        deadline = time.monotonic() + self.start_timeout
        while True:
            # The pod's state first: what the consumer says afterwards is not older.
            state = self._state
            progress = await self.drain.progress()
            if progress.finished and await self._is_settled():
                return True
            if state.exit_code == 0 and not progress.started:
                await self.drain.read()
                return False
            self._fail_if_ended(state, progress)
            if watching.done():
                watching.result()
            if not progress.started:
                self._fail_if_late(state, deadline)
            await self.drain.changed()

    async def _is_settled(self) -> bool:
        """Whether all is still acked after the outputs have come; asked again, since a restart forgets acks."""
        await self.drain.settled()
        if self._state.exit_code:
            raise ProcessEndedError(_ended(self._state, "after it had acked everything"))
        return (await self.drain.progress()).finished

    def _fail_if_ended(self, state: PodState, progress: Progress) -> None:
        if state.ended and not progress.finished:
            left = f"with {progress.pending} of {self.drain.share.count} messages not acked"
            raise ProcessEndedError(_ended(state, left))

    def _fail_if_late(self, state: PodState, deadline: float) -> None:
        if state.hopeless:
            raise ProcessEndedError(f"the process can't start: {state.waiting}.")
        if time.monotonic() > deadline:
            why = state.waiting or f"its pod is {state.phase}"
            raise ProcessEndedError(
                f"the process didn't subscribe within {self.start_timeout:g} s (start_timeout): {why}. Remedy: see "
                "that its image subscribes to nats.inputs of its app.yaml, or set its x-airflow.start_timeout."
            )

    def _quoted(self) -> str:
        if not self._last_lines:
            return "It printed nothing."
        return "\n  ".join(
            ["Its last lines:", *(readable(line).text[:_QUOTED_CHARACTERS] for line in self._last_lines)]
        )

    async def _watch(self) -> None:
        async for state in self.pods.states(self.pod):
            if state.waiting and state.waiting != self._state.waiting:
                self.note(f"waiting: {state.waiting}")
            self._state = state
            if state.has_output:
                self._begun.set()
            if state.ended or state.hopeless:
                self.drain.wake()

    async def _read_out(self) -> None:
        await self._begun.wait()
        async for line in self.pods.output(self.pod, lambda: self._state.ended or self._leaving):
            self.lines += 1
            self._last_lines.append(line)
            if self.lines > self.said:
                self.say(line)


def _ended(state: PodState, when: str) -> str:
    code = "" if state.exit_code is None else f" with exit code {state.exit_code}"
    reason = f" ({state.reason})" if state.reason else ""
    return f"the process ended{code}{reason} {when}."


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run this while the block runs, and not longer."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
