"""What a run was asked: the requests that it carries, read from its conf or made from its schedule. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_KEYS = ("payload", "trigger", "request_id")

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


def request_of(facts: RunFacts, conf: Mapping[str, Any], triggers: Sequence[str]) -> Request:
    """The request that a run carries.

    :param triggers: the workflow's triggers, in the KRT's order; a scheduled run that names none is the first one's
    :raises ConfError: an unknown key, an unknown trigger, or several to choose from
    """
    _check(conf, triggers)
    return Request(
        trigger=conf.get("trigger") or _only(triggers, scheduled=facts.scheduled),
        request_id=conf.get("request_id") or _derived_id(facts),
        payload=_interval(facts) if facts.scheduled and "payload" not in conf else conf.get("payload"),
    )


def _check(conf: Mapping[str, Any], triggers: Sequence[str]) -> None:
    unknown = sorted(set(conf) - set(_KEYS))
    if unknown:
        raise ConfError(
            f"conf: unknown key {unknown[0]!r}. Remedy: put the data under 'payload', as in "
            '{"payload": {...}, "trigger": "name", "request_id": "id"}; all three are optional.'
        )
    for key in ("trigger", "request_id"):
        if not isinstance(conf.get(key, ""), str):
            raise ConfError(f"conf.{key}: {type(conf[key]).__name__} instead of text.")
    named = conf.get("trigger")
    if named and named not in triggers:
        raise ConfError(f"conf.trigger: no trigger {named!r}. Remedy: one of {', '.join(triggers)}.")


def _only(triggers: Sequence[str], *, scheduled: bool) -> str:
    if len(triggers) > 1 and not scheduled:
        raise ConfError(f"conf.trigger is missing. Remedy: name one of {', '.join(triggers)}.")
    return triggers[0]


def _derived_id(facts: RunFacts) -> str:
    """The same for the same run, so that clearing it repeats its request."""
    return str(uuid.uuid5(_NAMESPACE, f"{facts.dag_id}\n{facts.run_id}"))


def _interval(facts: RunFacts) -> dict[str, str | None]:
    """What a scheduled or backfilled run says."""
    return {
        "data_interval_start": _iso(facts.data_interval_start),
        "data_interval_end": _iso(facts.data_interval_end),
        "logical_date": _iso(facts.logical_date),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
