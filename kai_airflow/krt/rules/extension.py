"""The rules of ``x-airflow``, wherever it stands: the bounds of each field, and what bounds can't say."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from kai_airflow.krt import forms, schedules
from kai_airflow.krt.model import START
from kai_airflow.krt.rules import common
from kai_airflow.krt.schema import keys_of
from kai_airflow.krt.wording import choice, listed, quoted
from kai_airflow.krt.zones import is_zone, zone_meant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from kai_airflow.krt.draft import ProcessDraft, ProductDraft, WorkflowDraft
    from kai_airflow.krt.place import Field, Place
    from kai_airflow.krt.report import Issue
    from kai_airflow.krt.schema import Key

ACTIONS = ("can_read", "can_edit", "can_delete")
"""What Airflow lets a role do with one DAG."""
_CODES = {
    "owner": "invalid-owner",
    "max_active_runs": "invalid-max-active-runs",
    "messages_per_run": "invalid-messages-per-run",
    "mode": "invalid-mode",
    "retries": "invalid-retries",
    "retry_delay": "invalid-retry-delay",
    "start_timeout": "invalid-start-timeout",
    "execution_timeout": "invalid-execution-timeout",
    "on_message_error": "invalid-on-message-error",
    "pool": "invalid-pool",
    "queue": "invalid-queue",
    "executor": "invalid-executor",
    "priority_weight": "invalid-priority-weight",
}
"""Fields whose bounds say all there is to say."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000  # of what is counted in every time zone and database


def fields_are_within_bounds(draft: ProductDraft | WorkflowDraft | ProcessDraft) -> Iterator[Issue]:
    """Every field as its key in the draft bounds it; empty text is none."""
    extension = draft.extension.value
    if extension is None:
        return
    for name, key in keys_of(type(extension)).items():
        field: Field[Any] = getattr(extension, name)
        if field.value == "" and name != "product":
            yield field.place.issue("missing-field", f"{key.name} is empty", "Write something there, or remove it.")
        elif field.value is not None and name in _CODES:
            yield from _beyond(field.place, field.value, key, _CODES[name])


def _beyond(place: Place, value: str | float, key: Key[object], code: str) -> Iterator[Issue]:
    bounds = key.bounds or {}
    if not isinstance(value, str):
        if not _is_within(value, bounds):
            remedy = f"Write {_span(bounds)}: {key.about[0].lower()}{key.about[1:]}"
            yield place.issue(code, f"{key.name} can't be {value:g}", remedy)
    elif value not in bounds.get("enum", (value,)):
        yield place.issue(code, f"{quoted(value)} is no {key.name}", choice(value, bounds["enum"]))
    elif len(value) > bounds.get("maxLength", len(value)):
        message = f"{key.name} has {len(value)} characters, of at most {bounds['maxLength']}"
        yield place.issue(code, message, "Shorten it.")


def _is_within(value: float, bounds: dict[str, Any]) -> bool:
    least, above, most = (bounds.get(bound) for bound in ("minimum", "exclusiveMinimum", "maximum"))
    return (least is None or value >= least) and (above is None or value > above) and (most is None or value <= most)


def _span(bounds: dict[str, Any]) -> str:
    least = (
        f"more than {bounds['exclusiveMinimum']}" if "exclusiveMinimum" in bounds else f"{bounds['minimum']} or more"
    )
    return f"{least}, at most {bounds['maximum']}" if "maximum" in bounds else least


def tags(draft: ProductDraft) -> Iterator[Issue]:
    """Of a length that Airflow's database takes."""
    for field in _tags(draft):
        if field.value == "":
            yield field.place.issue("invalid-tag", "a tag is empty", "Write something there, or remove it.")
        elif field.value and len(field.value) > forms.LONGEST_TAG:
            message = f"a tag has {len(field.value)} characters, of at most {forms.LONGEST_TAG}"
            yield field.place.issue("invalid-tag", message, "Shorten it.")


def namespace(draft: ProductDraft) -> Iterator[Issue]:
    """A name that Kubernetes takes for a namespace."""
    field = draft.extension.value.namespace if draft.extension.value else None
    if field and field.value:
        yield from common.bad_name(field, "the namespace", forms.LONGEST_LABEL)


def timezone(draft: WorkflowDraft) -> Iterator[Issue]:
    """One that there is."""
    field = draft.extension.value.timezone if draft.extension.value else None
    if field and field.value and not is_zone(field.value):
        meant = zone_meant(field.value)
        remedy = f"Did you mean {meant}?" if meant else "Write a name such as Europe/Madrid or UTC."
        yield field.place.issue("invalid-timezone", f"{quoted(field.value)} is no time zone", remedy)


def dates(draft: WorkflowDraft) -> Iterator[Issue]:
    """An end that isn't before the start."""
    extension = draft.extension.value
    if extension is None:
        return
    yield from _countable(extension.start_date, "invalid-start-date")
    yield from _countable(extension.end_date, "invalid-end-date")
    if extension.end_date.value is None or extension.start_date.wrong:
        return
    zone = extension.timezone.value or ""
    start = extension.start_date.value or START
    if _moment(extension.end_date.value, zone) < _moment(start, zone):
        message = f"the end_date is before the start_date, {start:%Y-%m-%d}"
        yield extension.end_date.place.issue("invalid-end-date", message, "Write a later date, or remove one of them.")


def _countable(field: Field[datetime], code: str) -> Iterator[Issue]:
    if field.value and not _FIRST_YEAR <= field.value.year <= _LAST_YEAR:
        remedy = f"Write a year from {_FIRST_YEAR} to {_LAST_YEAR}."
        yield field.place.issue(code, f"the year {field.value.year} is out of reach", remedy)


def _moment(value: datetime, zone: str) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone) if zone and is_zone(zone) else UTC)


def access_control(draft: WorkflowDraft) -> Iterator[Issue]:
    """Roles with actions that Airflow knows."""
    field = draft.extension.value.access_control if draft.extension.value else None
    for role, actions in field.value.fields.items() if field and field.value else ():
        if not role.strip():
            yield actions.place.issue("invalid-access-control", "a role has no name", "Name the role.")
        for action in actions.value or ():
            if action.value is not None and action.value not in ACTIONS:
                message = f"{quoted(action.value)} is nothing that a role may do with a DAG"
                yield action.place.issue("invalid-access-control", message, choice(action.value, ACTIONS))


def schedule(draft: WorkflowDraft) -> Iterator[Issue]:
    """One that Airflow can follow."""
    extension = draft.extension.value
    if extension is None or not extension.schedule.value:
        return
    field = extension.schedule
    if reason := schedules.problem(extension.schedule.value):
        remedy = f"Write a cron string of five fields such as '0 6 * * *', or {listed(schedules.PRESETS)}."
        yield field.place.issue("invalid-schedule", f"the schedule {quoted(field.value or '')} {reason}", remedy)
    if field.value == schedules.CONTINUOUS and extension.max_active_runs.value != 1:
        message = f"the schedule {field.value} has one run at a time"
        yield field.place.issue("invalid-schedule", message, "Write 'max_active_runs: 1' beside it.")


def _tags(draft: ProductDraft) -> tuple[Field[str], ...]:
    return (draft.extension.value.tags.value or ()) if draft.extension.value else ()
