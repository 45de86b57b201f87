"""The bridge: messages of triggers become runs, and what comes of them goes back. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.client import reaching
from kai_airflow.bridge.live.keeping import Keeping
from kai_airflow.bridge.live.nats_side import LiveNats
from kai_airflow.bridge.runs.ended import Ended
from kai_airflow.bridge.runs.replies import Answers
from kai_airflow.bridge.survey import Survey
from kai_airflow.bridge.workflow import Workbench, serve
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import NatsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.bridge.site import Site
    from kai_airflow.plan import Workflow

log = logging.getLogger(__name__)

LOOK = 2.0  # seconds between looks at the KRT files
AGAIN = 5.0  # seconds in which who is cancelled ends
NAME = "kai-airflow bridge"


async def run(site: Site) -> None:
    """Bridge until cancelled. A NATS that isn't there (yet) is waited for; so is an Airflow."""
    trouble = ""
    while True:
        try:
            async with connect(site.nats, name=NAME) as connection, reaching(site.airflow) as airflow:
                trouble = ""
                log.info("bridging %s and %s", site.nats, site.airflow.url)
                await _Bridge(site, Workbench(connection, airflow, site.settings), Survey(site.folders)).work()
        except* NatsUnavailableError as group:
            if (said := str(group.exceptions[0])) != trouble:
                log.warning("%s", said)
            trouble = said
            await asyncio.sleep(LOOK)


@dataclass
class _Bridge:
    site: Site
    bench: Workbench
    survey: Survey
    _served: dict[str, tuple[Workflow, asyncio.Task[None]]] = field(default_factory=dict)

    async def work(self) -> None:
        connection, airflow = self.bench.connection, self.bench.airflow
        answers = Answers(connection, airflow)
        nats = LiveNats(connection, self.site.settings.retention)
        try:
            async with asyncio.TaskGroup() as parts:
                answers.workflows = await asyncio.to_thread(self.survey.look)
                parts.create_task(Ended(answers).follow())
                parts.create_task(self._keep(answers))
                parts.create_task(Keeping(self.site, airflow, nats, lambda: answers.workflows).work())
                parts.create_task(self._watch())
        finally:
            await _cancelled(*(task for _, task in self._served.values()))

    async def _watch(self) -> None:
        """End with a connection that is closed for good: a server that took our user's rights away does so."""
        await self.bench.connection.closed.wait()
        raise NatsUnavailableError("NATS: the server has closed the connection for good. Making it anew.")

    async def _keep(self, answers: Answers) -> None:
        """Serve the workflows that there are, until cancelled."""
        while True:
            await self._follow(answers.workflows)
            await asyncio.sleep(LOOK)
            answers.workflows = await asyncio.to_thread(self.survey.look)

    async def _follow(self, workflows: Mapping[str, Workflow]) -> None:
        """Serve what is there, anew where it has changed."""
        ended = [dag_id for dag_id, (_, task) in self._served.items() if task.done()]
        for dag_id in ended:  # a defect of ours, in the way of one workflow only
            log.error("%s: ended, and is served anew", dag_id, exc_info=_defect(self._served.pop(dag_id)[1]))
        changed = [dag_id for dag_id, (workflow, _) in self._served.items() if workflows.get(dag_id) != workflow]
        await _cancelled(*(self._served.pop(dag_id)[1] for dag_id in changed))
        for dag_id, workflow in workflows.items():
            if dag_id not in self._served:
                log.info("serving %s of %s", dag_id, workflow.live_stream)
                self._served[dag_id] = (workflow, asyncio.create_task(serve(self.bench, workflow)))


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel, and wait for what they hand back. Up to Python 3.11 a cancel may be swallowed: then there is another."""
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        done, going = await asyncio.wait(going, timeout=AGAIN)
        for task in done:
            if defect := _defect(task):
                log.error("ended", exc_info=defect)


def _defect(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
