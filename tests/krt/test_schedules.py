"""Which schedules Airflow will follow: its own reader of cron strings judges, and in little time."""

from __future__ import annotations

from datetime import datetime

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from kai_airflow.krt import schedules
from kai_airflow.krt.schedules import problem

OFTEN = "has six fields, and to Airflow the sixth is the second, on which it would fire more than once a minute"
REASONS = {
    None,
    OFTEN,
    "is no cron string",
    "never comes round",
    "leaves the time to chance",
    "holds a year, which Airflow can't plan with",
}


@pytest.mark.parametrize(
    "schedule",
    [
        *schedules.PRESETS,
        "0 6 * * *",
        "*/15 9-17 * * mon-fri",
        "0 0 l * *",
        "0 0 15w * *",
        "0 0 * * 1#2",
        "0 0 29 2 *",
        "0 0 30 2 1",  # a Monday of February will do
        "0 6 * * * 30",
        " 0 6 * * * ",
    ],
)
def test_what_airflow_follows(schedule: str) -> None:
    assert problem(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (" ", "is blank"),
        ("daily", "is no cron string"),
        ("@dayly", "is no cron string"),
        ("@Once", "is no cron string"),
        ("0 6 * *", "is no cron string"),
        ("61 * * * *", "is no cron string"),
        ("0 0 * * 8", "is no cron string"),
        ("*/0 * * * *", "is no cron string"),
        ("0 0 * * 1#6", "is no cron string"),
        ("\u0663 * * * *", "is no cron string"),
        ("0 0 30 2 *", "never comes round"),
        ("0 0 31 2,4,6,9,11 *", "never comes round"),
        ("0 0 1 1 * 0 2030", "holds a year, which Airflow can't plan with"),
        ("R R * * *", "leaves the time to chance"),
        ("0 r(1-5) * * *", "leaves the time to chance"),
        ("0 H * * *", "leaves the time to chance"),
        ("0 0 6 * * *", OFTEN),
        ("0 0 6 * * 0,30", OFTEN),
        ("0," * 130 + "0 * * * *", "has 269 characters, of at most 250"),
    ],
)
def test_what_airflow_does_not_follow(schedule: str, why: str) -> None:
    assert problem(schedule) == why


numbers = st.lists(st.integers(25, 31), min_size=1, max_size=2, unique=True)
day_fields = numbers.map(lambda days: ",".join(map(str, days))) | st.sampled_from(
    ["*", "l", "31w", "*/30", "29-31", "31,l"]
)
months = st.lists(st.sampled_from([1, 2, 4, 6, 9, 11]), min_size=1, max_size=3).map(lambda few: ",".join(map(str, few)))
weekdays = st.just("*") | st.sampled_from(["1", "5#5", "*/2", "l3", "0-6", "0,7"])


@given(day_fields, months | st.just("*"), weekdays)
@settings(max_examples=150, deadline=None)
def test_a_day_that_never_comes_is_told_as_by_croniter(day: str, month: str, weekday: str) -> None:
    expression = f"0 0 {day} {month} {weekday}"
    assert problem(expression) == slowly(expression)


def slowly(expression: str) -> str | None:
    """What a search of half a century tells."""
    try:
        croniter(expression, datetime(2026, 1, 1)).get_next(datetime)  # noqa: DTZ001 - in whatever zone
    except CroniterBadDateError:
        return "never comes round"
    except ValueError:
        return "is no cron string"
    return None


@given(st.text(max_size=20) | st.text("0123456789*?/-,#@lwhrLWHR() monjan", max_size=30))
@settings(max_examples=120, deadline=None)
def test_any_text_is_followed_or_told_why_not(schedule: str) -> None:
    assert problem(schedule) in {*REASONS, "is blank"}


@given(st.lists(st.text("0123456789*?/-,#lwhr", min_size=1, max_size=6), min_size=5, max_size=7).map(" ".join))
@settings(max_examples=150, deadline=None)
def test_fields_of_any_signs_are_followed_or_told_why_not(schedule: str) -> None:
    assert problem(schedule) in REASONS
