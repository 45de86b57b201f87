"""The stack on which is measured, with what runs there: processes, pods of the stock operator, the example."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from kai_airflow.local import ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.local.airflow_api import Run, Task
    from kai_airflow.local.progress import Progress

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "dags"
SOON = 120.0  # seconds for a DAG to be there, or a process to be at work
RUN = 300.0  # seconds for a run
POLL = 0.05  # seconds between two looks at a file

PLAIN, PLAIN_WORKING, NATS = "benchmarks/plain", "benchmarks/plain-working", "benchmarks/nats"
WORK = 2.0  # seconds that a container of "plain-working" works
FIRST = "first"  # stamps of containers' first acts

KRT = """\
version: v1.0.0
description: 'what is measured'
workflows:
  - name: run
    type: training
    processes:
      - {{name: start, type: trigger, image: none, {resources}}}
      - name: {name}
        type: exit
        image: {image}
        subscriptions: [start]
        {resources}
        config: {{stamps: {name}, seconds: '{seconds:g}'}}
        x-airflow: {{deferrable: {deferrable}}}
"""
RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"


@dataclass(frozen=True)
class Subject:
    """A process that is measured, alone with its trigger in a product of its own."""

    name: str
    image: str = NATS
    seconds: float = 0.0
    deferrable: bool = False

    @property
    def dag_id(self) -> str:
        """Its workflow."""
        return f"{self.name}.run"

    @property
    def krt(self) -> str:
        """Its krt.yaml."""
        return KRT.format(
            name=self.name,
            image=self.image,
            seconds=self.seconds,
            deferrable=str(self.deferrable).lower(),
            resources=RESOURCES,
        )


@dataclass(frozen=True)
class Site:
    """A running stack, and the folder in which containers leave their stamps: times, to tell when they did what."""

    stack: Stack
    api: AirflowApi
    stamps: Path

    def install(self, subject: Subject) -> None:
        """Put a process into the dags folder."""
        folder = self.stack.dags / subject.name
        folder.mkdir()
        (folder / "krt.yaml").write_text(subject.krt)

    def start(self, dag_id: str, payload: Any = None) -> Run:
        """Start a run of a DAG, once it is there."""
        self.api.wait_for_dag(dag_id, SOON)
        return self.api.start_run(dag_id, {"payload": payload})

    def end(self, run: Run) -> Run:
        """Wait for a run's end. Raises BenchmarkError where it fails: its figures would mean something else."""
        ended = self.api.wait_for_run(run, RUN)
        if ended.state != "success":
            states = {task.task_id: task.state for task in self.api.tasks(run)}
            raise BenchmarkError(f"run {run.run_id} of {run.dag_id} ended as {ended.state}: {states}")
        return ended

    def task(self, run: Run, task_id: str) -> Task:
        """A task of a run."""
        return next(task for task in self.api.tasks(run) if task.task_id == task_id)

    def stamped(self, name: str) -> list[float]:
        """What containers stamped there so far, in seconds since 1970."""
        file = self.stamps / name
        return [int(line) / 1e9 for line in file.read_text().split()] if file.exists() else []

    def until_stamped(self, name: str, count: int) -> None:
        """Wait for so many stamps."""
        deadline = time.monotonic() + SOON
        while len(self.stamped(name)) < count:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{name} isn't at work after {SOON:g} s. Remedy: see that the machine has time.")
            time.sleep(POLL)


@contextmanager
def site(folder: Path, progress: Progress) -> Iterator[Site]:
    """A stack that keeps everything in this folder, while the block lasts."""
    stamps, dags = folder / "stamps", folder / "dags"
    stamps.mkdir()
    shutil.copytree(EXAMPLES, dags)
    shutil.copytree(HERE / "dags", dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    with (dags / "images.yaml").open("a") as file:
        file.writelines(f"\n{json.dumps(image)}: {json.dumps(words)}\n" for image, words in _images(stamps).items())
    with (
        Stack(dags, folder / "home", ports.free(1)[0], progress) as stack,
        AirflowApi(stack.url, stack.user, stack.password) as api,
    ):
        yield Site(stack, api, stamps)


def _images(stamps: Path) -> Mapping[str, list[str]]:
    """What runs for an image. The first act of each is the same, whatever it is written in."""
    first = f"date +%s%N >> {shlex.quote(str(stamps / FIRST))}"
    program = shlex.join([sys.executable, "-P", str(HERE / "program.py"), str(stamps)])
    return {
        PLAIN: ["sh", "-c", first],
        PLAIN_WORKING: ["sh", "-c", f"{first}; sleep {WORK:g}"],
        NATS: ["sh", "-c", f"{first}; exec {program}"],
    }


def start_of(task: Task) -> float:
    """When a task's first try began, in seconds since 1970."""
    if task.start is None:
        raise BenchmarkError(f"{task.task_id} has not begun")
    return datetime.fromisoformat(task.start).timestamp()


def seconds_of(task: Task) -> float:
    """How long an ended task took."""
    if task.duration is None:
        raise BenchmarkError(f"{task.task_id} has not ended")
    return task.duration
