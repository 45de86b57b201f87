"""Whether a DAG takes runs now: it is there, nobody has paused it, and not too many wait already."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from kai_airflow.bridge.client import AirflowError

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow

log = logging.getLogger(__name__)

FRESH = 1.0  # seconds for which an answer of Airflow's counts
PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds between looks at a closed gate: the API has nothing that tells of changes


class Gate:
    """The gate of one DAG, in front of everything that starts its runs."""

    def __init__(self, airflow: Airflow, dag_id: str, most_queued: int) -> None:
        self._airflow, self._dag_id, self._most = airflow, dag_id, most_queued
        self._room, self._looked = 0, -FRESH
        self._looking = asyncio.Lock()
        self.reason = ""

    async def is_open(self) -> bool:
        """Whether a run may be started now, as far as Airflow said within the last second."""
        async with self._looking:
            if self._room <= 0 or time.monotonic() - self._looked > FRESH:
                await self._look()
            return self._room > 0

    async def admits(self) -> bool:
        """The same, for one that starts a run then."""
        admitted = await self.is_open()
        self._room -= admitted
        return admitted

    async def opens(self) -> None:
        """Wait until it is open."""
        pauses = iter(PAUSES)
        while True:
            async with self._looking:
                if self._room <= 0:
                    await self._look()
                if self._room > 0:
                    return
            await asyncio.sleep(next(pauses, PAUSES[-1]))

    async def closed(self) -> bool:
        """Whether Airflow takes none now, whatever it said before."""
        async with self._looking:
            await self._look()
            return self._room <= 0

    def close(self, reason: str) -> None:
        """Airflow has refused a run for now: look before the next."""
        self._room = 0
        self._say(reason)

    async def _look(self) -> None:
        try:
            reason, self._room = await self._found()
        except AirflowError as error:
            reason, self._room = str(error), 0
        self._looked = time.monotonic()
        self._say(reason)

    async def _found(self) -> tuple[str, int]:
        dag = await self._airflow.dag(self._dag_id)
        if dag is None:
            return "Airflow has no such DAG (yet)", 0
        if dag.paused or dag.broken:
            return "it is paused" if dag.paused else "its file has errors", 0
        room = self._most - await self._airflow.queued(self._dag_id)
        return ("" if room > 0 else f"{self._most} of its runs are queued"), room

    def _say(self, reason: str) -> None:
        if reason and reason != self.reason:
            log.warning("messages for %s wait: %s", self._dag_id, reason)
        elif self.reason and not reason:
            log.info("messages for %s go on", self._dag_id)
        self.reason = reason
