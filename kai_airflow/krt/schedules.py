"""Whether Airflow will follow a schedule. What one means is Airflow's to say: its own reader of cron strings judges."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
CONTINUOUS = "@continuous"
"""Airflow runs it again as soon as it has ended, one run at a time."""
_LONGEST = 250
_MOST_FIELDS = 6
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - in whatever zone


def problem(schedule: str) -> str | None:
    """Why Airflow can't follow a schedule, as the end of a sentence; None where it can."""
    if schedule in PRESETS:
        return None
    if not schedule.strip():
        return "is blank"
    if len(schedule) > _LONGEST:
        return f"has {len(schedule)} characters, of at most {_LONGEST}"
    return _form_problem(schedule.split()) or _cron_problem(schedule)


def _form_problem(fields: Sequence[str]) -> str | None:
    """What croniter reads and Airflow can't plan with, or not as it was meant."""
    if len(fields) > _MOST_FIELDS:
        return "holds a year, which Airflow can't plan with"
    if len(fields) == _MOST_FIELDS and not fields[-1].isdecimal():
        return "has six fields, and to Airflow the sixth is the second, on which it would fire more than once a minute"
    if any(part[:1].lower() in ("r", "h") for field in fields for part in field.split(",")):
        return "leaves the time to chance"
    return None


def _cron_problem(expression: str) -> str | None:
    from croniter import CroniterBadCronError, CroniterBadDateError, croniter

    try:
        times = croniter(expression, _SOME_DAY)
        if _has_no_day(times.expanded) and "w" not in expression.lower():
            return "never comes round"
        times.get_next(datetime)
    except CroniterBadDateError:
        return "never comes round"
    except (CroniterBadCronError, ValueError, KeyError, AttributeError, OverflowError):
        return "is no cron string"
    return None


def _has_no_day(fields: Sequence[Sequence[object]]) -> bool:
    """Whether no month has one of the days, as 30 February. Left to itself croniter searches half a century for it."""
    days, months, weekdays = fields[2:5]
    numbers = [day for day in days if isinstance(day, int)]
    longest = [_DAYS_OF_MONTH[month - 1] for month in months if isinstance(month, int)]
    return list(weekdays) == ["*"] and len(numbers) == len(days) and bool(longest) and min(numbers) > max(longest)
