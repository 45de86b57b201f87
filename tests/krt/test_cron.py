"""cron of KAI's cronjob-trigger, against an interpreter of it that is as plain as can be."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kai_airflow.krt.cron import Cron, Every, NoCronError, NotKeptError, parse
from kai_airflow.krt.schedules import problem

BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
MONTHS = ("JAN", "feb", "Mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("SUN", "mon", "Tue", "wed", "thu", "fri", "sat")
START = datetime(2026, 1, 30, 22, 58, 17)  # noqa: DTZ001 - in whatever zone
FIRINGS = 8
YEARS = timedelta(days=400)


@st.composite
def fields(draw: st.DrawFn, position: int) -> str:
    """One field: stars, numbers, names, ranges and steps, several of them sometimes."""
    return ",".join(draw(st.lists(parts(position), min_size=1, max_size=2)))


@st.composite
def parts(draw: st.DrawFn, position: int) -> str:
    low, high = BOUNDS[position]
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, high))
    names = {4: MONTHS, 5: DAYS}.get(position)
    named = names[first - low] if names else str(first)
    return draw(
        st.sampled_from(
            ["*", "*", "?", named, f"{first}-{last}", f"{first}-{last}/{step}", f"*/{step}", f"{first}/{step}"]
        )
    )


EXPRESSIONS = st.tuples(st.integers(0, 59).map(str), *(fields(position) for position in range(1, 6))).map(" ".join)


def meant(word: str, position: int) -> tuple[set[int], bool]:
    """What a field matches, and whether it leaves the day to the other field of days."""
    low, high = BOUNDS[position]
    names = {4: MONTHS, 5: DAYS}.get(position, ())
    values: set[int] = set()
    free = False
    for part in word.split(","):
        span, _, step = part.partition("/")
        begin, _, end = span.partition("-")
        if begin in ("*", "?"):
            first, last = low, high
            free = free or int(step or 1) == 1
        else:
            numbers = {name.lower(): low + index for index, name in enumerate(names)}
            first = numbers.get(begin.lower(), -1) if begin.lower() in numbers else int(begin)
            last = int(end) if end else high if step else first
        values |= set(range(first, last + 1, int(step or 1)))
    return values, free


def firings(expression: str) -> list[datetime]:
    """When the trigger would fire, minute by minute."""
    words = expression.split()
    (second,) = meant(words[0], 0)[0]
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = (
        meant(word, position) for position, word in enumerate(words[1:], 1)
    )
    found: list[datetime] = []
    day = START.replace(hour=0, minute=0, second=0)
    while len(found) < FIRINGS and day < START + YEARS:
        on_day, on_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        due = on_day and on_weekday if any_day or any_weekday else on_day or on_weekday
        if due and day.month in months:
            moments = [day.replace(hour=h, minute=m, second=second) for h in sorted(hours) for m in sorted(minutes)]
            found += [moment for moment in moments if moment > START]
        day += timedelta(days=1)
    return found[:FIRINGS]


@given(EXPRESSIONS)
@example("0 0 6 1-31 * MON")
@example("0 0 6 */2 * MON")
@example("5 5/15 */60 ? * *,3")
@settings(max_examples=150, deadline=None)
def test_airflow_fires_when_the_trigger_would(expression: str) -> None:
    timing = parse(expression)
    assert isinstance(timing, Cron)
    expected = firings(expression)
    assume(len(expected) == FIRINGS)
    assert problem(timing.expression) is None
    reader = croniter(timing.expression, START)
    assert [reader.get_next(datetime) for _ in range(FIRINGS)] == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("@every 60s", 60),
        ("@every 1m", 60),
        ("@every 1h30m", 5400),
        ("@every 1.5h", 5400),
        ("@every 90000ms", 90),
        ("@every 61.9s", 61),
        ("@every +2m", 120),
        ("@every 1h1m1s1ms1us1ns", 3661),
        ("@every 60000000µs", 60),
        ("  @every 5m  ", 300),
    ],
)
def test_an_interval_is_as_go_writes_durations(text: str, seconds: int) -> None:
    assert parse(text) == Every(seconds)


@pytest.mark.parametrize(
    ("text", "expression", "zone"),
    [
        ("@yearly", "0 0 1 1 *", None),
        ("@annually", "0 0 1 1 *", None),
        ("@monthly", "0 0 1 * *", None),
        ("@weekly", "0 0 * * 0", None),
        ("@daily", "0 0 * * *", None),
        ("@midnight", "0 0 * * *", None),
        ("@hourly", "0 * * * *", None),
        ("CRON_TZ=Asia/Tokyo @daily", "0 0 * * *", "Asia/Tokyo"),
        ("TZ=UTC 30 0 6 * * *", "0 6 * * * 30", "UTC"),
    ],
)
def test_descriptors_and_time_zones(text: str, expression: str, zone: str | None) -> None:
    assert parse(text) == Cron(expression, zone)


@pytest.mark.parametrize(
    "text", ["* * * * * *", "*/30 * * * * *", "1,2 * * * * *", "0-1 0 0 * * *", "@every 59s", "@every 1ns"]
)
def test_more_than_once_a_minute_is_for_the_trigger_itself(text: str) -> None:
    with pytest.raises(NotKeptError) as refused:
        parse(text)
    assert not isinstance(refused.value, NoCronError)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0 6 * * *",
        "0 0 6 * * * *",
        "60 * * * * *",
        "0 60 * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 32 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 * MAY-FOO *",
        "0 5-1 * * * *",
        "0 */0 * * * *",
        "0 */-1 * * * *",
        "0 1/2/3 * * * *",
        "0 1-2-3 * * * *",
        "0 *-5 * * * *",
        "0 L * * * *",
        "0 , * * * *",
        "0 ١ * * * *",  # noqa: RUF001 - a digit of another script
        "0 " + "9" * 400 + " * * * *",
        "@every",
        "@every ",
        "@every soon",
        "@every 5",
        "@every -5m",
        "@every 5 m",
        "@reboot",
        "@Daily",
        "CRON_TZ=Europe/Nowhere 0 0 6 * * *",
        "CRON_TZ=../../etc/passwd 0 0 6 * * *",
        "0" * 2000,
    ],
)
def test_what_the_trigger_cannot_read_is_no_cron(text: str) -> None:
    with pytest.raises(NoCronError):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_timing_or_refused(text: str) -> None:
    with contextlib.suppress(NotKeptError):
        assert isinstance(parse(text), Cron | Every)
