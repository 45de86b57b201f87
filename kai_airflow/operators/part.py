"""One pod of a task: a try that was fed its share, followed to its end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.drain import draining
from kai_airflow.messaging.errors import BrokenTryError, MessagingError
from kai_airflow.messaging.feed import pass_on
from kai_airflow.messaging.outcome import settle
from kai_airflow.messaging.plain import LONGEST
from kai_airflow.operators.shown import Shown
from kai_airflow.operators.supervisor import ProcessEndedError, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kai_airflow.kube import PodName
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.drain import Drain
    from kai_airflow.messaging.feed import Share
    from kai_airflow.messaging.outcome import Outcome
    from kai_airflow.operators.pods import Pods
    from kai_airflow.operators.shown import Log


@dataclass(frozen=True)
class End:
    """How a part ended: what counts of it, how far its process had acked, and what broke it."""

    outcome: Outcome
    acked: int
    error: KaiAirflowError | None = None


@dataclass(frozen=True)
class Part:
    """A try whose pod exists. Made by :func:`followed`."""

    connection: Connection
    drain: Drain
    supervisor: Supervisor
    errors_travel: bool

    @property
    def share(self) -> Share:
        """What it was fed."""
        return self.drain.share

    async def end(self) -> End:
        """Wait for the end; what goes wrong is a part of it."""
        try:
            await self._done()
        except KaiAirflowError as error:
            return await self._broken(error)
        outcome = settle(self.share, self.drain.outputs, None, errors_travel=self.errors_travel)
        return End(outcome, self.share.last)

    async def _done(self) -> None:
        if await self.supervisor.until_done():
            return
        # An image that speaks no NATS: what it did, it did with the requests in its environment.
        if self.share.requests.text is None:
            raise ProcessEndedError(
                f"the process ended without having subscribed, and its {self.share.count} requests are more than an "
                f"environment takes ({LONGEST} bytes of JSON). Remedy: have it subscribe to nats.inputs "
                "of its app.yaml."
            )
        if all(output.passed_on for output in self.drain.outputs):
            await pass_on(self.connection, self.share.of)
            await self.drain.read()
            self.supervisor.note(f"passed on {len(self.drain.outputs)} message(s): the process speaks no NATS")

    async def _broken(self, error: KaiAirflowError) -> End:
        floor = 0 if isinstance(error, BrokenTryError) else await self._floor()
        outcome = settle(self.share, self.drain.outputs, floor, errors_travel=self.errors_travel)
        return End(outcome, floor, error)

    async def _floor(self) -> int:
        try:
            await self.drain.read()
            # Raises also where another nats-server answers: what the last one forgot may have been done twice.
            return (await self.drain.progress()).acked
        except MessagingError:
            return 0  # nobody can tell any more: nothing of it counts


@asynccontextmanager
async def followed(
    connection: Connection,
    pods: Pods,
    pod: PodName,
    share: Share,
    server: str,
    *,
    said: int = 0,
    start_timeout: float,
    errors_travel: bool,
    log: Log,
    note: Callable[[str], None],
) -> AsyncIterator[Part]:
    """The part of this pod, its output read out into the log, while the block lasts."""
    shown = Shown(log, pod)
    async with draining(connection, share, server) as drain:
        supervisor = Supervisor(drain, pods, pod, start_timeout=start_timeout, say=shown, note=note, said=said)
        try:
            async with supervisor.reading():
                yield Part(connection, drain, supervisor, errors_travel)
        finally:
            shown.ended()
