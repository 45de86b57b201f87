"""What is told of a run while it goes on: states of tasks, and the lines of their logs."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.log import mask_logs
from airflow.utils.session import create_session
from sqlalchemy import select

import kai_airflow
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from structlog.typing import EventDict

PACKAGE = str(Path(kai_airflow.__file__).parent)


class Observer:
    """A listener of Airflow's, and of its log.

    One task runs at a time, so a line that is logged belongs to the one that began last.
    """

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._current = ""

    @hookimpl
    def on_task_instance_running(self, task_instance: RuntimeTaskInstance) -> None:
        """A task begins."""
        self._current = task_instance.task_id
        self._tell_states()

    @hookimpl
    def on_task_instance_success(self) -> None:
        """It ended well."""
        self._tell_states()

    @hookimpl
    def on_task_instance_failed(self, error: BaseException | str | None) -> None:
        """It failed, for good or until its retry."""
        self._say("error", _text(error))
        self._tell_states()

    def hear(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """A processor of structlog: tells what this package's own code logs, the lines of processes among it.

        Airflow and its libraries log much that says nothing of a workflow: it stays in Airflow's log.
        """
        if str(event.get("pathname")).startswith(PACKAGE):
            self._say("lines", str(event["event"]))
        return event

    def _say(self, what: str, text: str) -> None:
        masked = mask_logs(None, "", {"event": text})["event"]
        self._tell({"task_id": self._current, what: masked.splitlines()})

    def _tell_states(self) -> None:
        with create_session() as session:
            # All of the database: it was made for this run.
            self._tell({"tasks": [described(task) for task in session.scalars(select(TaskInstance))]})


def described(task: TaskInstance) -> dict[str, Any]:
    """A task as it is now."""
    return {
        "task_id": task.task_id,
        "state": None if task.state is None else str(task.state),
        "try_number": task.try_number,
        "start": None if task.start_date is None else task.start_date.isoformat(),
        "duration": task.duration,
    }


def _text(error: BaseException | str | None) -> str:
    """What the user has to know; where it is our fault, or Airflow's, what a developer has to."""
    if isinstance(error, BaseException) and not isinstance(error, (KaiAirflowError, AirflowException)):
        return "".join(traceback.format_exception(error))
    return str(error)
