"""The processes of a stack that runs in this process: its parts, and the workers of its tasks."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kai_airflow.local import guard
from tests.stack.conftest import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.local.airflow_api import AirflowApi, Run


def part_process(words: str) -> int:
    """The process whose command line holds these words: the oldest, not a guard."""
    found = [
        process
        for process in guard.descendants(os.getpid())
        if words in (line := command(process)) and guard.__file__ not in line
    ]
    assert found, words
    return min(found)


def kill(words: str) -> None:
    """kill -9 of a part."""
    os.kill(part_process(words), signal.SIGKILL)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process that does nothing while the block lasts."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def task_processes(api: AirflowApi, run: Run, task_id: str) -> list[int]:
    """The processes of a task: Airflow's supervisor and the task itself."""
    task = api.task_instance_id(run, task_id)
    return [process for process in guard.descendants(os.getpid()) if task in command(process).split()]
