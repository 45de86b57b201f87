"""Triggers that keep time: those whose ``config`` has the key ``cron``, as KAI's cronjob-trigger has it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from kai_airflow.krt import cron
from kai_airflow.krt.rules.workflow import processes_of
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import WorkflowDraft
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.report import Issue

KEY = "cron"
_MOST = 200  # triggers of a workflow whose time is looked at: to read an expression takes longer than to write one
_ALL_THE_SAME = "The trigger stays a long-lived process, which keeps the time itself."


class _Timed(NamedTuple):
    trigger: str
    cron: Field[str]


class Keeper(NamedTuple):
    """The trigger whose time Airflow keeps, and its schedule; none where ``x-airflow.schedule`` takes its place."""

    trigger: str
    timing: cron.Timing | None


def keeper(draft: WorkflowDraft) -> Keeper | None:
    """The first trigger that keeps time in a way that Airflow can; any way will do beside ``x-airflow.schedule``."""
    for timed in _timed(draft):
        if _has_schedule(draft):
            return Keeper(timed.trigger, None)
        try:
            return Keeper(timed.trigger, cron.parse(timed.cron.value or ""))
        except cron.NotKeptError:
            continue
    return None


def is_kept_by_airflow(draft: WorkflowDraft) -> Iterator[Issue]:
    """A DAG has one schedule; the other triggers that keep time go on doing so, and who wrote them is told why."""
    kept = keeper(draft)
    for timed in _timed(draft):
        if kept and timed.trigger == kept.trigger:
            continue
        try:
            cron.parse(timed.cron.value or "")
        except cron.NoCronError as error:
            message = f"the trigger can't read its cron {quoted(timed.cron.value or '')}: {error.why}"
            yield timed.cron.place.issue("invalid-cron", message, error.remedy)
        except cron.NotKeptError as error:
            message = f"Airflow can't keep the time of {quoted(timed.trigger)}: {error.why}"
            yield timed.cron.place.issue("cron-not-kept", message, f"{error.remedy} {_ALL_THE_SAME}")
        else:
            message = f"Airflow can't keep the time of {quoted(timed.trigger)}: its DAG has another schedule already"
            remedy = f"Give it a workflow of its own to have Airflow keep its time. {_ALL_THE_SAME}"
            yield timed.cron.place.issue("cron-not-kept", message, remedy)


def _timed(draft: WorkflowDraft) -> Iterator[_Timed]:
    return itertools.islice(_all_timed(draft), _MOST)


def _all_timed(draft: WorkflowDraft) -> Iterator[_Timed]:
    for process in processes_of(draft):
        config = process.config.value.fields if process.config.value else {}
        if process.type.value == "trigger" and KEY in config and config[KEY].value is not None:
            yield _Timed(process.name.value or "", config[KEY])


def _has_schedule(draft: WorkflowDraft) -> bool:
    return draft.extension.value is not None and draft.extension.value.schedule.value is not None
