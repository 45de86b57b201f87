"""What a request's query and delete body say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kai_airflow.local.kubernetes import selectors
from kai_airflow.local.kubernetes.errors import Object, bad_request, conflict, not_implemented
from kai_airflow.local.kubernetes.managers import Applier
from kai_airflow.local.kubernetes.metadata import Model, Seconds, parse
from kai_airflow.local.kubernetes.resources import Resource

Query = Mapping[str, str]

MAX_MANAGER = 128
"""Characters of a manager's name, as in Kubernetes."""

_BOOLEANS = {"": False, "true": True, "True": True, "1": True, "false": False, "False": False, "0": False}


def refuse_missing(query: Query) -> None:
    """Raise ApiError 501 for a parameter that would change what happens, and that isn't implemented."""
    for name in ("dryRun", "continue", "sendInitialEvents"):
        if query.get(name):
            raise not_implemented(f"the parameter {name}")
    for name, value in (("fieldValidation", "Strict"), ("resourceVersionMatch", "Exact")):
        if query.get(name) == value:
            raise not_implemented(f"{name}={value}")


def boolean(query: Query, name: str) -> bool:
    """A yes or no; no by default. Raises ApiError 400."""
    value = query.get(name, "")
    if value not in _BOOLEANS:
        raise bad_request(f"the parameter {name} must be true or false, not {value!r}")
    return _BOOLEANS[value]


def integer(query: Query, name: str) -> int | None:
    """A whole number from 0 to 2^63 - 1, or None. Raises ApiError 400."""
    value = query.get(name, "")
    if not value:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 19 or int(value) >= 2**63:
        raise bad_request(f"the parameter {name} must be a whole number, not {value!r}")
    return int(value)


def manager(query: Query, agent: str) -> str:
    """Who writes: the parameter fieldManager, or the beginning of the User-Agent. Raises ApiError 400."""
    named = query.get("fieldManager") or agent.partition("/")[0].strip() or "unknown"
    if len(named) > MAX_MANAGER or not named.isprintable():
        raise bad_request(f"the parameter fieldManager must be at most {MAX_MANAGER} printable characters")
    return named


def applier(query: Query) -> Applier:
    """Who applies. Raises ApiError 400."""
    if not query.get("fieldManager"):
        raise bad_request("an apply patch needs the parameter fieldManager: who applies")
    return Applier(manager(query, ""), boolean(query, "force"))


def view(resource: Resource, namespace: str | None, query: Query) -> selectors.View:
    """What a list, watch or deletion of a collection is about. Raises ApiError 400."""
    label_tests = selectors.labels(query.get("labelSelector", ""))
    field_tests = selectors.fields(query.get("fieldSelector", ""), resource.fields)
    return selectors.View(resource.plural, namespace, tuple(label_tests), tuple(field_tests))


@dataclass(frozen=True)
class LogQuery:
    """Which part of a container's log: the last `tail` lines, from the time `since` on, at most `limit` bytes.

    `previous`: the log of the container that ended before this one.
    """

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    seconds: int | None = None
    since: datetime | None = None
    previous: bool = False

    @classmethod
    def parse(cls, query: Query) -> "LogQuery":
        """Raises ApiError 400."""
        if query.get("stream", "All") != "All":
            raise not_implemented("the parameter stream: stdout and stderr are one")
        seconds, since = integer(query, "sinceSeconds"), _time(query, "sinceTime")
        if seconds is not None and since is not None:
            raise bad_request("at most one of sinceSeconds and sinceTime may be given")
        return cls(
            boolean(query, "follow"),
            boolean(query, "timestamps"),
            integer(query, "tailLines"),
            integer(query, "limitBytes"),
            seconds,
            since,
            boolean(query, "previous"),
        )


def _time(query: Query, name: str) -> datetime | None:
    value = query.get(name, "")
    try:
        moment = datetime.fromisoformat(value) if value else None
    except ValueError:
        moment = None
    if value and (moment is None or moment.tzinfo is None):
        raise bad_request(f"the parameter {name} must be a time such as 2006-01-02T15:04:05Z, not {value!r}")
    return moment


class Preconditions(Model):
    """What must hold of the object that is deleted."""

    uid: str | None = None
    resource_version: str | None = None


class DeleteOptions(Model):
    """How to delete. Dependents are deleted in the background, whatever the policy, except with Orphan: 501."""

    missing = frozenset({"dryRun", "orphanDependents"})
    grace_period_seconds: Seconds | None = None
    preconditions: Preconditions = Preconditions()
    propagation_policy: Literal["Background", "Foreground", "Orphan"] | None = None

    @classmethod
    def of(cls, query: Query, body: Object) -> "DeleteOptions":
        """From a request; its body goes before its query. Raises ApiError 400, 422 or 501."""
        said: Object = {}
        if (grace := integer(query, "gracePeriodSeconds")) is not None:
            said["gracePeriodSeconds"] = grace
        for name in ("propagationPolicy", "orphanDependents"):
            if query.get(name, "") not in ("", "false"):
                said[name] = query[name]
        options = parse(cls, {**said, **body}, "DeleteOptions")
        if options.propagation_policy == "Orphan":
            raise not_implemented("propagationPolicy=Orphan")
        return options

    def check(self, resource: Resource, metadata: Object) -> None:
        """Raise ApiError 409 where a precondition doesn't hold."""
        wanted = {"uid": self.preconditions.uid, "resourceVersion": self.preconditions.resource_version}
        for name, value in wanted.items():
            if value is not None and value != metadata[name]:
                why = f"the {name} in the precondition ({value}) isn't the object's ({metadata[name]})"
                raise conflict(resource.plural, metadata["name"], why)
