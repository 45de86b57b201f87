"""What a site does, as the pages show it: looked up when somebody asks, and then good for a moment.

Nothing here holds up Airflow: who asks waits for a fraction of a second, and sees what was known before where that
isn't enough. What can't be reached is told, and hides nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from kai_airflow.bridge.site import ask_airflow
from kai_airflow.bridge.survey import Survey
from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence
    from pathlib import Path

    from kai_airflow.bridge.lifecycle.status import Objects
    from kai_airflow.bridge.site import Site
    from kai_airflow.plan import Workflow

log = logging.getLogger(__name__)

T = TypeVar("T")

FRESH = 2.0  # seconds for which a look is good
PATIENCE = 0.6  # seconds that somebody waits for one
ANSWER = 5.0  # seconds for NATS or Kubernetes to answer
KEPT = 600.0  # seconds until Airflow's connections and bundles are looked up again
_BEGINNING = "NATS, Kubernetes and the KRT files are being looked up: what isn't shown yet will be in a moment."


@dataclass(frozen=True)
class Look:
    """What was seen; ``troubles`` say what couldn't be, and why. ``is_first``: nobody has looked yet.

    ``broken``: KRT files with errors.
    """

    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    objects: Objects | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[str, ...] = (_BEGINNING,)
    is_first: bool = True
    broken: Sequence[Path] = ()


class Board:
    """One for each process of the API server."""

    def __init__(self) -> None:
        self._last = Look()
        self._looked = self._asked = -KEPT
        self._looking: asyncio.Task[None] | None = None
        self._site: Site | None = None
        self._survey = Survey(())

    async def look(self) -> Look:
        """How things are now, or were a moment ago."""
        if self._looking is None and time.monotonic() - self._looked > FRESH:
            self._looking = asyncio.create_task(self._renew())
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=PATIENCE)
        return self._last

    async def close(self) -> None:
        """End what is going on."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _renew(self) -> None:
        try:
            self._last = await self._found()
        except KaiAirflowError as error:
            self._last = replace(self._last, troubles=(str(error),))
        except Exception:
            log.exception("the board's look")
            self._last = replace(self._last, troubles=("A defect: see the API server's log.",))
        finally:
            self._looked, self._looking = time.monotonic(), None

    async def _found(self) -> Look:
        site = await self._where()
        workflows = await asyncio.to_thread(self._survey.look)
        troubles: list[str] = []
        objects, waiting = await asyncio.gather(
            _told("Kubernetes", _objects(site, workflows), troubles),
            _told("NATS", _waiting(site, workflows), troubles),
        )
        said = (*self._unread(site), *troubles)
        return Look(workflows, objects, waiting or {}, said, is_first=False, broken=self._survey.broken)

    async def _where(self) -> Site:
        if self._site is None or time.monotonic() - self._asked > KEPT:
            site = await ask_airflow()
            if self._site is None or site.folders != self._site.folders:
                self._survey = Survey(site.folders)
            self._site, self._asked = site, time.monotonic()
        return self._site

    def _unread(self, site: Site) -> list[str]:
        if not site.folders:
            return ["Airflow has no KrtDagBundle: processes aren't shown."]
        gone = [str(folder) for folder in site.folders if not folder.is_dir()]
        said = [
            f"The KRT files' folder {folder} isn't there for the API server: no processes shown." for folder in gone
        ]
        broken = len(self._survey.broken)
        return [*said, *([f"{broken} KRT file(s) have errors: see Airflow's import errors."] if broken else [])]


async def _told(who: str, asked: Awaitable[T], troubles: list[str]) -> T | None:
    try:
        async with asyncio.timeout(ANSWER):
            return await asked
    except KaiAirflowError as error:
        troubles.append(str(error))
    except TimeoutError:
        troubles.append(f"{who}: no answer within {ANSWER:g} s.")
    return None


async def _objects(site: Site, workflows: Mapping[str, Workflow]) -> Objects:
    # Kubernetes' client takes a second to import, which Airflow's other answers shouldn't wait for.
    await asyncio.to_thread(import_module, "kai_airflow.bridge.lifecycle.version")
    from kai_airflow.bridge.cluster.client import reaching
    from kai_airflow.bridge.lifecycle.version import objects

    async with reaching(site.cluster) as cluster:
        return await objects(cluster, workflows.values(), site)


async def _waiting(site: Site, workflows: Mapping[str, Workflow]) -> dict[str, int]:
    from kai_airflow.bridge.lifecycle.waiting import waiting

    async with connect(site.nats, name="kai-airflow page") as connection:
        counts = await asyncio.gather(*(waiting(connection, workflow) for workflow in workflows.values()))
    return dict(zip(workflows, counts, strict=True))
