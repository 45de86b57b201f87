"""Waiting in the worker or in the triggerer, for a process that answers at once, and for one that works a minute."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.figures import COUNT, SECONDS, Table
from benchmarks.proxy import counted
from benchmarks.site import Subject, seconds_of, start_of
from benchmarks.states import States

if TYPE_CHECKING:
    from benchmarks.proxy import CountingProxy
    from benchmarks.site import Site
    from kai_airflow.local.airflow_api import Run

LONG = 60.0  # seconds
SHORT_WAITING, SHORT_DEFERRED = Subject("short-waiting"), Subject("short-deferred", deferrable=True)
LONG_WAITING = Subject("long-waiting", seconds=LONG)
LONG_DEFERRED = Subject("long-deferred", seconds=LONG, deferrable=True)
ROWS = {
    SHORT_WAITING: "answers at once, worker waits",
    SHORT_DEFERRED: "answers at once, deferred",
    LONG_WAITING: f"works {LONG:g} s, worker waits",
    LONG_DEFERRED: f"works {LONG:g} s, deferred",
}


class Deferral:
    """The four of them."""

    def __init__(self, site: Site) -> None:
        self.table = Table(
            "Waiting in the worker, or deferred",
            {
                "task": SECONDS,
                "last ack to its end": SECONDS,
                "in a worker": SECONDS,
                "requests to Kubernetes": COUNT,
            },
        )
        self._site = site

    def prepare(self) -> None:
        """Run the short ones once: a triggerer's first trigger imports what it needs."""
        self._states = States(self._site.stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        for subject in ROWS:
            self._site.install(subject)
        for subject in (SHORT_WAITING, SHORT_DEFERRED):
            self._site.end(self._site.start(subject.dag_id))

    def measure(self) -> None:
        """The short ones run one after the other while the long ones sleep; those don't begin and end together."""
        with ExitStack() as stack:
            proxy = stack.enter_context(counted(self._site.stack.kubeconfig))
            long = {subject: self._at_work(subject) for subject in (LONG_WAITING, LONG_DEFERRED)}
            short = {
                subject: self._site.end(self._site.start(subject.dag_id)) for subject in (SHORT_WAITING, SHORT_DEFERRED)
            }
            runs = short | {subject: self._site.end(run) for subject, run in long.items()}
        for subject, run in runs.items():
            self.table.add(ROWS[subject], *self._figures(subject, run, proxy))

    def _at_work(self, subject: Subject) -> Run:
        before = len(self._site.stamped(subject.name))
        run = self._site.start(subject.dag_id)
        self._site.until_stamped(subject.name, before + 1)
        return run

    def _figures(self, subject: Subject, run: Run, proxy: CountingProxy) -> tuple[float, float, float, int]:
        task = self._site.task(run, subject.name)
        ended = start_of(task) + seconds_of(task)
        last_ack = self._site.stamped(subject.name)[-1]
        running = self._states.running(run.dag_id, run.run_id, subject.name)
        return seconds_of(task), ended - last_ack, running, proxy.requests(f"{subject.name}-")
