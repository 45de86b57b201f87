"""A process's task beside a KubernetesPodOperator's, and a workflow of six beside six of those."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from benchmarks.figures import SECONDS, Table
from benchmarks.site import FIRST, PLAIN, PLAIN_WORKING, WORK, Subject, seconds_of, start_of
from kai_airflow.demo.event import push_event

if TYPE_CHECKING:
    from benchmarks.site import Site
    from kai_airflow.local.airflow_api import Run


@dataclass(frozen=True)
class Kind:
    """A row: the task that is measured, and the process where it is one."""

    dag_id: str
    task_id: str
    subject: Subject | None = None


def _pod(dag_id: str) -> Kind:
    return Kind(dag_id, "work")


def _process(subject: Subject) -> Kind:
    return Kind(subject.dag_id, subject.name, subject)


KINDS = {
    "KubernetesPodOperator, container ends at once": _pod("pod"),
    "process without NATS, ends at once": _process(Subject("plain", PLAIN)),
    "process, answers at once": _process(Subject("nats")),
    f"KubernetesPodOperator, container works {WORK:g} s": _pod("pod-working"),
    f"process without NATS, works {WORK:g} s": _process(Subject("plain-working", PLAIN_WORKING)),
    f"process, works {WORK:g} s": _process(Subject("nats-working", seconds=WORK)),
}


class Tasks:
    """One container: of the stock operator, of a process that speaks no NATS, and of one that does."""

    def __init__(self, site: Site) -> None:
        self.table = Table(
            "One task",
            {
                "task": SECONDS,
                "its start to the container's first act": SECONDS,
                "from there to its end": SECONDS,
            },
        )
        self._site = site

    def prepare(self) -> None:
        """Run each once, so that what only the first one costs isn't measured."""
        for kind in KINDS.values():
            if kind.subject:
                self._site.install(kind.subject)
        for kind in KINDS.values():
            self._figures(kind)

    def measure(self) -> None:
        """One after the other."""
        for row, kind in KINDS.items():
            self.table.add(row, *self._figures(kind))

    def _figures(self, kind: Kind) -> tuple[float, float, float]:
        before = len(self._site.stamped(FIRST))
        run = self._site.end(self._site.start(kind.dag_id))
        task, stamps = self._site.task(run, kind.task_id), self._site.stamped(FIRST)[before:]
        if len(stamps) != 1:
            raise BenchmarkError(f"{kind.task_id} of run {run.run_id} launched {len(stamps)} containers, not one")
        first = stamps[0] - start_of(task)
        return seconds_of(task), first, seconds_of(task) - first


class Workflows:
    """The example of six processes, and its graph of stock operators."""

    def __init__(self, site: Site) -> None:
        self.table = Table("A workflow of six", {"run": SECONDS})
        self._site = site

    def prepare(self) -> None:
        """Run both once."""
        self._one_of_each()

    def measure(self) -> None:
        """One after the other."""
        for row, seconds in self._one_of_each().items():
            self.table.add(row, seconds)

    def _one_of_each(self) -> dict[str, float]:
        return {
            "six KubernetesPodOperators": self._one("six-pods", None),
            "dags/github-trainer": self._one("github-trainer.training-workflow", push_event(1)),
        }

    def _one(self, dag_id: str, payload: Any) -> float:
        return _duration(self._site.end(self._site.start(dag_id, payload)))


def _duration(run: Run) -> float:
    if run.start is None or run.end is None:
        raise BenchmarkError(f"run {run.run_id} of {run.dag_id} has not ended")
    return (datetime.fromisoformat(run.end) - datetime.fromisoformat(run.start)).total_seconds()
