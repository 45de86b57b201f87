"""One container of a pod, over all its restarts: start, readiness, end, and a pause before the next start."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Protocol

from kai_airflow.local.kubernetes import events, probes, status
from kai_airflow.local.kubernetes.launch import Launch
from kai_airflow.local.kubernetes.logs import Log
from kai_airflow.local.kubernetes.patience import Patience
from kai_airflow.local.kubernetes.pods import Container
from kai_airflow.local.kubernetes.process import Process, StartError
from kai_airflow.local.kubernetes.status import NotReadyError, Running, Standing, State, Terminated, Waiting

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a restart, doubled from the one to the other. A kubelet's are 10 and 300: here people wait."""

STABLE = 60.0
"""Seconds that a container must have run for its next pause to be the first again."""


class Pod(Protocol):
    """What a container needs of its pod."""

    patience: Patience

    def show(self) -> None:
        """A container stands otherwise than before."""

    def record(self, reason: str, message: str, kind: str = events.NORMAL, container: str = "") -> None:
        """Keep an Event."""


class ContainerLife:
    """One container. `launch` gives what to start; `policy` is the restartPolicy that holds for it."""

    def __init__(
        self, pod: Pod, container: Container, policy: str, logs: Path, launch: Callable[[], Awaitable[Launch]]
    ) -> None:
        self.standing = Standing()
        self.log: Log | None = None
        self._pod, self._container, self._policy, self._logs, self._make = pod, container, policy, logs, launch
        self._launch: Launch | None = None
        self._process: Process | None = None
        self._ended_log: Log | None = None
        self._ordered: Signals | None = None
        self._told: set[str] = set()

    @property
    def previous(self) -> Log | None:
        """The log of the run that `standing.last` tells of."""
        if self.standing.last is None:
            return None
        return self.log if isinstance(self.standing.state, Waiting) else self._ended_log

    def port(self, declared: int) -> int:
        """The port of 127.0.0.1 on which the program listens for a containerPort; others are what they are."""
        return self._launch.ports.get(declared, declared) if self._launch else declared

    def expect(self, reason: str) -> None:
        """It waits for this."""
        self._stand(Waiting(reason))

    def signal(self, number: Signals) -> None:
        """SIGTERM or SIGKILL: it ends, and isn't started again."""
        self._ordered = number
        if self._process is not None:
            self._process.signal(number)
            if number == SIGTERM:
                self._record("Killing", f"Stopping container {self._container.name}")

    async def run(self) -> None:
        """Until it has ended for good; without a start where the pod is stopped first."""
        pause = FIRST_PAUSE
        while await self._once() and status.restarts(self._policy, self.standing.state) and not self._ordered:
            pause = FIRST_PAUSE if _seconds(self.standing.state) >= STABLE else pause
            await self._back_off(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _back_off(self, pause: float) -> None:
        what = f"back-off {pause:g}s restarting failed container={self._container.name}"
        ended = self.standing.state
        last = ended if isinstance(ended, Terminated) else None
        self._stand(Waiting("CrashLoopBackOff", what), last=last)
        self._record("BackOff", "Back-off restarting failed container", events.WARNING)
        await self._pod.patience.pause(pause)

    async def _once(self) -> bool:
        """One run to its end; False where the pod was stopped before."""
        launch = await self._pod.patience.until(self._make, self._tell)
        if launch is None:
            return False
        self._launch = launch
        self._record("Pulled", launch.source)
        begun = datetime.now(UTC)
        try:
            log = self._next_log()
            process = await Process.start(launch.words, launch.environment, launch.folder, launch.after)
            await self._accompany(process, log)
        except StartError as error:
            self._record("Failed", f"Error: {error}", events.WARNING)
            self._stand(Terminated(128, "StartError", begun, datetime.now(UTC), message=str(error)))
        finally:
            self._launch = None
            launch.release()
        return True

    def _next_log(self) -> Log:
        """The log of the next run; of those before, the last is kept."""
        if self._ended_log is not None:
            self._ended_log.remove()
        self._ended_log = self.log
        number = self.standing.restarts + (self.standing.last is not None)
        self.standing = replace(self.standing, restarts=number)
        self.log = Log(self._logs / f"{self._container.name}.{number}")
        return self.log

    async def _accompany(self, process: Process, log: Log) -> None:
        """From a process's start to its end. Its log is closed last: who followed it then finds the state ended."""
        running = Running(datetime.now(UTC), process.pid)
        self._process = process
        if self._ordered:
            process.signal(self._ordered)
        self._stand(running, ready=self._container.readiness_probe is None)
        self._record("Created", f"Created container: {self._container.name}")
        self._record("Started", f"Started container {self._container.name}")
        watching = asyncio.create_task(self._watch())
        try:
            await log.fill(process.output)
        finally:
            watching.cancel()
            process.signal(SIGKILL)  # only where the log can't be written, or the server stops
            code = await process.wait()
            self._process = None
            self._stand(Terminated.of(running, code, datetime.now(UTC)))
            log.close()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        """Show whether it is ready, as its probe says."""
        probe = self._container.readiness_probe
        if probe is None:
            return
        async for answer in probes.answers(probe, self._resolve):
            if not answer.ready:
                self._record("Unhealthy", f"Readiness probe failed: {answer.why}", events.WARNING)
            self._stand(self.standing.state, ready=answer.ready)

    def _resolve(self, wanted: int | str) -> int | None:
        declared = self._container.port(wanted)
        return None if declared is None else self.port(declared)

    def _tell(self, wait: NotReadyError) -> None:
        """Show what it waits for: in its state, and once in an Event."""
        known = wait.message in self._told
        self._told.add(wait.message)
        reason, message, event = wait.reason, wait.message, "Failed"
        if known and reason == "ErrImagePull":
            reason, message = "ImagePullBackOff", f'Back-off pulling image "{self._container.image}": {message}'
            event, known = "BackOff", message in self._told
            self._told.add(message)
        self._stand(Waiting(reason, message))
        if not known:
            self._record(event, message, events.WARNING)

    def _stand(self, state: State, *, ready: bool = False, last: Terminated | None = None) -> None:
        self.standing = replace(self.standing, state=state, ready=ready, last=last or self.standing.last)
        self._pod.show()

    def _record(self, reason: str, message: str, kind: str = events.NORMAL) -> None:
        self._pod.record(reason, message, kind, self._container.name)


def _seconds(state: State) -> float:
    """How long a container that ended had run."""
    return (state.finished - state.started).total_seconds() if isinstance(state, Terminated) else 0.0
