"""What a run was asked: the requests that it carries, read from its conf or made from its schedule. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_KEYS = ("payload", "trigger", "request_id")

_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

# Request ids of runs that bring none: a namespace of their own for RFC 9562's name-based UUIDs.
_NAMESPACE = uuid.UUID("6b0f2f5e-3f0e-5d0b-9c53-6f1f0f5c7a11")


class ConfError(KaiAirflowError):
    """A run's conf that asks for something that can't be done."""


@dataclass(frozen=True)
class Request:
    """One message for a trigger: ``payload`` is JSON."""

    trigger: str
    request_id: str
    payload: Any


@dataclass(frozen=True)
class RunFacts:
    """What Airflow knows of a run. The interval is None for a run that no schedule made."""

    dag_id: str
    run_id: str
    scheduled: bool
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    logical_date: datetime | None


@dataclass(frozen=True)
class Trigger:
    """A workflow's trigger. ``keeps_time``: its requests are those of the schedule, as KAI's cronjob-trigger's."""

    name: str
    config: Mapping[str, str]
    keeps_time: bool = False


def request_of(facts: RunFacts, conf: Mapping[str, Any], triggers: Sequence[Trigger]) -> Request:
    """The request that a run carries.

    :param triggers: the workflow's, in the KRT's order; a scheduled run that names none is that of the first which
        keeps time, or of the first
    :raises ConfError: an unknown key, an unknown trigger, or several to choose from
    """
    _check(conf, [trigger.name for trigger in triggers])
    trigger = _chosen(conf.get("trigger"), triggers, scheduled=facts.scheduled)
    payload = conf.get("payload")  # null, in the conf of a backfill, is what its form was left with
    return Request(
        trigger=trigger.name,
        request_id=conf.get("request_id") or _derived_id(facts),
        payload=_said_by_schedule(facts, trigger) if facts.scheduled and payload is None else payload,
    )


def _check(conf: Mapping[str, Any], triggers: Sequence[str]) -> None:
    unknown = sorted(set(conf) - set(_KEYS))
    if unknown:
        raise ConfError(
            f"conf: unknown key {unknown[0]!r}. Remedy: put the data under 'payload', as in "
            '{"payload": {...}, "trigger": "name", "request_id": "id"}; all three are optional.'
        )
    for key in ("trigger", "request_id"):
        if not isinstance(conf.get(key, ""), str | None):
            raise ConfError(f"conf.{key}: {type(conf[key]).__name__} instead of text.")
    named = conf.get("trigger")
    if named and named not in triggers:
        raise ConfError(f"conf.trigger: no trigger {named!r}. Remedy: one of {', '.join(triggers)}.")


def _chosen(name: str | None, triggers: Sequence[Trigger], *, scheduled: bool) -> Trigger:
    if name:
        return next(trigger for trigger in triggers if trigger.name == name)
    if len(triggers) > 1 and not scheduled:
        raise ConfError(f"conf.trigger is missing. Remedy: name one of {_names(triggers)}.")
    return next((trigger for trigger in triggers if scheduled and trigger.keeps_time), triggers[0])


def _names(triggers: Sequence[Trigger]) -> str:
    return ", ".join(trigger.name for trigger in triggers)


def _derived_id(facts: RunFacts) -> str:
    """The same for the same run, so that clearing it repeats its request."""
    return str(uuid.uuid5(_NAMESPACE, f"{facts.dag_id}\n{facts.run_id}"))


def _said_by_schedule(facts: RunFacts, trigger: Trigger) -> dict[str, str | None]:
    """Which interval a scheduled or backfilled run is for, and what KAI's cronjob-trigger sends (reference, 3)."""
    interval = {
        "data_interval_start": _iso(facts.data_interval_start),
        "data_interval_end": _iso(facts.data_interval_end),
        "logical_date": _iso(facts.logical_date),
    }
    if not trigger.keeps_time:
        return interval
    # The moment that the run is for, not now: a cleared run repeats its request.
    moment = facts.data_interval_end or facts.logical_date
    return {**interval, "message": trigger.config.get("message", ""), "time": _as_cronjob_trigger(moment)}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _as_cronjob_trigger(moment: datetime | None) -> str | None:
    """As the trigger writes it, in English whatever the locale: ``Fri Jan 2 15:04:05 UTC 2026``."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    return f"{_DAYS[utc.weekday()]} {_MONTHS[utc.month - 1]} {utc.day} {utc:%H:%M:%S} UTC {utc.year}"
