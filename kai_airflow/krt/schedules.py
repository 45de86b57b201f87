"""Whether Airflow will follow a schedule. What one means is Airflow's to say: its own reader of cron strings judges."""

from __future__ import annotations

from datetime import datetime

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
CONTINUOUS = "@continuous"
"""Airflow runs it again as soon as it has ended, one run at a time."""
_LONGEST = 250
_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - in whatever zone


def problem(schedule: str) -> str | None:
    """Why Airflow can't follow a schedule, as the end of a sentence; None where it can."""
    if schedule in PRESETS:
        return None
    if not schedule.strip():
        return "is blank"
    if len(schedule) > _LONGEST:
        return f"has {len(schedule)} characters, of at most {_LONGEST}"
    return _cron_problem(schedule)


def _cron_problem(expression: str) -> str | None:
    from croniter import CroniterBadCronError, CroniterBadDateError, croniter

    try:
        croniter(expression, _SOME_DAY).get_next(datetime)
    except CroniterBadDateError:
        return "never comes round"
    except (CroniterBadCronError, ValueError, KeyError, AttributeError, OverflowError):
        return "is no cron string"
    return None
