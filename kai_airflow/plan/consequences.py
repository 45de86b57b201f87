"""What follows from a change of plan that doesn't stand in either: what stays behind, and what Airflow does on its own.

Codes are for programs, and stable; messages for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.krt.wording import listed
from kai_airflow.plan.plain import zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.plan.model import Plan, Workflow


@dataclass(frozen=True)
class Consequence:
    """One thing to know before the change is made."""

    code: str
    message: str


def of_product(old: Plan, new: Plan) -> Iterator[Consequence]:
    """Of another product, or another version of it."""
    if old.product != new.product:
        yield Consequence(
            "other-product",
            f"the product is {new.product} instead of {old.product}, so every DAG has another id; x-airflow.product "
            "names a product, else its file or folder",
        )
    elif old.version != new.version:
        yield Consequence(
            "other-version",
            f"KAI's streams, buckets and Deployments bear the version's name: messages, objects, and what was changed "
            f"in the buckets stay behind in those of {old.version}",
        )


def of_workflow(old: Workflow | None, new: Workflow | None, renamed: Mapping[str, str | None]) -> Iterator[Consequence]:
    """Of a DAG that comes, goes or changes; ``renamed``: its old tasks, by the names that they have now."""
    if old is not None and (new is None or new.dag_id != old.dag_id):
        yield Consequence("history-stays", _history(old, new))
    if new is not None and new.catchup and new.schedule is not None:
        yield from _catchup(old, new)
    if old is not None and new is not None:
        yield from _task_history(old, new, renamed)
        yield from _clock(old, new)
        yield from _keeper(old, new)
        yield from _mode(old, new)
        yield from _configuration(old, new)


def _history(old: Workflow, new: Workflow | None) -> str:
    stays = f"the runs so far stay in Airflow under {old.dag_id}, and no new ones start there"
    return f"{stays}; {new.dag_id} begins without any" if new else f"{stays}; let active ones end first"


def _catchup(old: Workflow | None, new: Workflow) -> Iterator[Consequence]:
    since = f"{new.start:%Y-%m-%d %H:%M} {zone(new.start)}"
    if old is None or old.dag_id != new.dag_id:
        yield Consequence("catches-up", f"Airflow starts a run for each time that it was due since {since}")
    elif not (old.catchup and old.schedule):
        yield Consequence(
            "catches-up", f"Airflow starts a run for each time that it was due since its last run, or {since}"
        )


def _task_history(old: Workflow, new: Workflow, renamed: Mapping[str, str | None]) -> Iterator[Consequence]:
    gone = [name for name, now in renamed.items() if now != name]
    if gone and old.dag_id == new.dag_id:
        yield Consequence(
            "task-history-stays", f"earlier runs keep the tries and logs of {listed(gone, 'and')}, by that name"
        )


def _clock(old: Workflow, new: Workflow) -> Iterator[Consequence]:
    zones = zone(old.start), zone(new.start)
    if isinstance(new.schedule, str) and old.schedule == new.schedule and zones[0] != zones[1]:
        yield Consequence("other-clock", f"{new.schedule!r} goes by the clock of {zones[1]} instead of {zones[0]}")


def _keeper(old: Workflow, new: Workflow) -> Iterator[Consequence]:
    if old.keeper == new.keeper:
        return
    if old.keeper in {process.name for process in new.triggers}:
        yield Consequence("trigger-keeps-time", f"{old.keeper} keeps the time itself, as a long-lived process")
    if new.keeper in {process.name for process in old.triggers}:
        yield Consequence("airflow-keeps-time", f"Airflow keeps the time of {new.keeper}, whose image isn't launched")


def _mode(old: Workflow, new: Workflow) -> Iterator[Consequence]:
    if old.mode != new.mode:
        how = "live on beside the runs" if new.mode == "stream" else "are launched by each run, and end with it"
        yield Consequence("other-mode", f"the processes {how}")


def _configuration(old: Workflow, new: Workflow) -> Iterator[Consequence]:
    """Buckets are given only what never had a value there (docs/processes.md, "Buckets")."""
    before, after = old.processes[0].buckets, new.processes[0].buckets
    for bucket, now, held, given in (
        (before.version, after.version, old.version_config, new.version_config),
        (before.workflow, after.workflow, old.config, new.config),
    ):
        keys = [key for key, value in held.items() if given.get(key) != value]
        if keys and bucket == now:
            yield Consequence(
                "configuration-stays",
                f"bucket {bucket} keeps what it holds for {listed(keys, 'and')}: change it there, or raise the version",
            )
