"""Keeps parts running: one that ends is started again, until it ends too often."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from kai_airflow.errors import KaiAirflowError
from kai_airflow.local.deaths import TOO_MANY, Deaths
from kai_airflow.local.supervisor import PartEndedError, described
from kai_airflow.local.waiting import cancel, first, until

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from types import TracebackType

    from kai_airflow.local.progress import Progress
    from kai_airflow.local.supervisor import Part, Supervisor

AFTERMATH = 30.0  # seconds in which the end of one part may be due to that of another

Probe = Callable[[], Awaitable[bool]]


async def at_once() -> bool:
    """The probe of a part that needs no other."""
    return True


@dataclass(frozen=True)
class Service:
    """A part that runs until the end.

    ``well``: whether it is well, asked with the moment before its start. ``needed``: whether what it can't run without
    is there; as long as that is away, it isn't started again.
    """

    part: Part
    well: Callable[[datetime], Awaitable[bool]]
    needed: Probe = at_once


class Keeper:
    """Starts services, and starts them again. Leaving the context ends that; the supervisor stops the parts."""

    def __init__(self, supervisor: Supervisor, progress: Progress) -> None:
        self._supervisor, self._progress = supervisor, progress
        self._tending: list[asyncio.Task[None]] = []
        self._dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends: dict[int, float] = {}  # of each rank the last
        self._settled = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel(self._tending)

    async def start(self, service: Service) -> None:
        """Start a service that is to run until the end."""
        process = await self._supervisor.start(service.part)
        task = asyncio.create_task(self._tend(service, process))
        task.add_done_callback(self._given_up)
        self._tending.append(task)

    def settle(self) -> None:
        """All are well: from now on a part that ends is started again. One that ends before can't start."""
        self._settled = True

    async def death(self) -> None:
        """Wait until a service is given up. Raises PartEndedError."""
        await self._dead

    def _given_up(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._dead.done():
            self._dead.set_exception(error)

    async def _tend(self, service: Service, process: Process) -> None:
        part, deaths = service.part, Deaths()
        while True:
            code = await self._supervisor.ended(process)
            began = time.monotonic()
            if not self._settled:
                raise PartEndedError(part, code, self._supervisor.log(part.name))
            if await self._is_to_blame(service, began):
                deaths = deaths.another(began)
            if deaths.too_many:
                raise PartEndedError(part, code, self._supervisor.log(part.name), times=TOO_MANY)
            self._progress.ended(part.name, described(code))
            await asyncio.sleep(deaths.pause)
            await _until(service.needed)
            since = datetime.now(UTC)
            process = await self._supervisor.restart(part, code)
            await first(process.wait(), self._well_again(service, since, began))

    async def _is_to_blame(self, service: Service, moment: float) -> bool:
        """Whether a service ended of itself, and not since what it needs ended, or is away still."""
        rank = service.part.rank
        self._ends[rank] = moment
        follows = any(one < rank and moment - end < AFTERMATH for one, end in self._ends.items())
        return not follows and await _says_yes(service.needed)

    async def _well_again(self, service: Service, since: datetime, began: float) -> None:
        await _until(lambda: service.well(since))
        self._progress.restarted(service.part.name, time.monotonic() - began)


async def _until(probe: Probe) -> None:
    await until("a part", lambda: _says_yes(probe), timeout=math.inf)


async def _says_yes(probe: Probe) -> bool:
    """Whether it does now; an error is no answer while parts come and go."""
    try:
        return await probe()
    except KaiAirflowError:
        return False
