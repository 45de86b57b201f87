"""What a cron trigger means: compared with a reader of its own for the trigger's six fields, time by time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

import pytest
from croniter import croniter
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kai_airflow.krt import cron, schedules
from kai_airflow.krt.cron import Cron, Every, NoCronError, NotKeptError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.krt.conftest import Krt

BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
NAMES: dict[int, list[str]] = {4: ["", *MONTHS], 5: DAYS}  # by the place of their field, each at its own number
FORMS = ["*", "?", "{n}", "{n}", "{n}-{m}", "{n}-{m}", "*/{s}", "?/{s}", "{n}/{s}", "{n}-{m}/{s}"]
FIRINGS = 40
HORIZON = timedelta(days=10 * 366)  # longer than the longest wait for a 29 February near today


@dataclass(frozen=True)
class Read:
    """A field as the trigger's own reader has it: its values, and whether it counts as a star."""

    values: frozenset[int]
    star: bool


def read(word: str, index: int) -> Read:
    parts = [read_part(part, index) for part in word.split(",") if part]
    return Read(frozenset().union(*(part.values for part in parts)), any(part.star for part in parts))


def read_part(part: str, index: int) -> Read:
    low, high = BOUNDS[index]
    span, _, step = part.partition("/")
    first, dash, last = span.partition("-")
    star = first in "*?"
    if not star:
        low = number(first, index)
        high = number(last, index) if dash else high if step else low
    return Read(frozenset(range(low, high + 1, int(step or 1))), star and int(step or 1) == 1)


def number(text: str, index: int) -> int:
    names = NAMES.get(index, [])
    return names.index(text.lower()) if text.lower() in names else int(text)


def firings(expression: str, start: datetime) -> Iterator[datetime]:
    """The times after ``start``, found by looking at every day."""
    seconds, minutes, hours, days, months, weekdays = (read(word, i) for i, word in enumerate(expression.split()))
    times = [
        time(hour, minute, second)
        for hour in sorted(hours.values)
        for minute in sorted(minutes.values)
        for second in sorted(seconds.values)
    ]
    for after in range(HORIZON.days):
        day = start.date() + timedelta(days=after)
        if day.month in months.values and is_day(day, days, weekdays):
            yield from (moment for at in times if (moment := datetime.combine(day, at)) > start)


def is_day(day: date, days: Read, weekdays: Read) -> bool:
    either = day.day in days.values, day.isoweekday() % 7 in weekdays.values
    return all(either) if days.star or weekdays.star else any(either)


def written(index: int, value: int) -> st.SearchStrategy[str]:
    """A number, or its name in some case."""
    names = NAMES.get(index)
    if names is None:
        return st.just(str(value))
    name = names[value]
    return st.sampled_from([str(value), name, name.upper(), name.capitalize()])


@st.composite
def parts(draw: st.DrawFn, index: int) -> str:
    low, high = BOUNDS[index]
    form = draw(st.sampled_from(FORMS))
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, high + 2) | st.integers(1, 3))
    return form.format(n=draw(written(index, first)), m=draw(written(index, last)), s=step)


def fields(index: int) -> st.SearchStrategy[str]:
    return st.lists(parts(index), min_size=1, max_size=3).map(",".join)


one_second = st.integers(0, 59).flatmap(lambda n: st.sampled_from([f"{n}", f"{n}-{n}", f"{n},{n}", f"{n}/60"]))
times_of_day = st.tuples(one_second, fields(1), fields(2))
# Plain stars more often than chance has them: where they are, both fields of days must match.
days = st.tuples(fields(3) | st.sampled_from("*?"), fields(4) | st.just("*"), fields(5) | st.sampled_from("*?"))
expressions = st.tuples(times_of_day, days).map(lambda halves: " ".join(halves[0] + halves[1]))
starts = st.datetimes(datetime(2020, 1, 1), datetime(2030, 12, 31))  # noqa: DTZ001 - in whatever zone


@given(expressions, starts)
@example("0 0 0 */2 * 0-6", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 1-31 * */2", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 1-31 * 1", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 13 * 5", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 13,* * 5", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 ?/40 * ?/9", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 5-5 5-5 *", datetime(2026, 1, 1))  # noqa: DTZ001
@example("59 59/15 23/7 31/1 DEC/3 SAT/2", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 29 FEB ?", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 30 2 *", datetime(2026, 1, 1))  # noqa: DTZ001
@example("0 0 0 31 */2 */1", datetime(2026, 1, 1))  # noqa: DTZ001
@settings(max_examples=150, deadline=None)
def test_airflow_fires_when_the_trigger_would(expression: str, start: datetime) -> None:
    start = start.replace(microsecond=0)
    expected = list(itertools.islice(firings(expression, start), FIRINGS))
    if not expected:
        with pytest.raises(NotKeptError, match="never comes round"):
            parse(expression)
        return
    kept = parse(expression)
    assert isinstance(kept, Cron)
    assert schedules.problem(kept.expression) is None
    theirs = croniter(kept.expression, start)
    assert [theirs.get_next(datetime) for _ in expected] == expected


@given(fields(0), times_of_day, days)
@settings(max_examples=150, deadline=None)
def test_only_what_fires_at_one_second_of_a_minute_is_kept(
    seconds: str, time_of_day: tuple[str, ...], day: tuple[str, ...]
) -> None:
    expression = " ".join([seconds, *time_of_day[1:], *day])
    often = len(read(seconds, 0).values) > 1
    assert (reason(expression) == "it fires more than once a minute, and Airflow's schedules are of minutes") is often


def reason(expression: str) -> str:
    """Why Airflow can't keep a time; empty where it can."""
    try:
        parse(expression)
    except NotKeptError as refused:
        return refused.why
    return ""


@pytest.mark.parametrize(
    ("descriptor", "meaning"),
    [
        ("@yearly", "0 0 0 1 1 *"),
        ("@annually", "0 0 0 1 1 *"),
        ("@monthly", "0 0 0 1 * *"),
        ("@weekly", "0 0 0 * * 0"),
        ("@daily", "0 0 0 * * *"),
        ("@midnight", "0 0 0 * * *"),
        ("@hourly", "0 0 * * * *"),
    ],
)
def test_a_descriptor_fires_as_the_expression_that_it_stands_for(descriptor: str, meaning: str) -> None:
    assert parse(descriptor) == parse(meaning)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 30 6 * * *", "30 6 * * *"),
        ("0 */5 * * * *", "*/5 * * * *"),
        ("15 */5 * * * *", "*/5 * * * * 15"),
        ("  0  30\t6 ? * MON-FRI ", "30 6 * * 1-5"),
        ("+0 +30 06 * * *", "30 6 * * *"),
        ("0 0 0 *-5 * *", "0 0 * * *"),  # the trigger looks at nothing that follows a star and a dash
        ("0 0 0 ,1,,15, * *", "0 0 1,15 * *"),
    ],
)
def test_an_expression_in_the_words_of_airflow(text: str, expression: str) -> None:
    assert parse(text) == Cron(expression)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("CRON_TZ=Europe/Madrid 0 0 6 * * *", Cron("0 6 * * *", "Europe/Madrid")),
        ("TZ=Asia/Tokyo   0 0 6 * * *", Cron("0 6 * * *", "Asia/Tokyo")),
        ("CRON_TZ= 0 0 6 * * *", Cron("0 6 * * *", "UTC")),
        ("CRON_TZ=America/New_York @daily", Cron("0 0 * * *", "America/New_York")),
        ("TZ=UTC @every 90s", Every(90)),
    ],
)
def test_a_time_zone_before_it_goes_with_it(text: str, kept: cron.Timing) -> None:
    assert parse(text) == kept


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("60s", 60),
        ("1m", 60),
        ("1m30s", 90),
        ("30s1m", 90),
        ("1h1h", 7200),
        ("1.5h", 5400),
        (".5h", 1800),
        ("1.h", 3600),
        ("+1h", 3600),
        ("0h60.9s", 60),
        ("61999ms", 61),
        ("69000000us", 69),
        ("69000000µs", 69),
        ("69000000μs", 69),
        ("90000000000ns", 90),
        ("10000000000000ns", 10_000),
        ("1.00000000000000000000m", 60),
        ("000000000000000000001m", 60),
        ("9223372036s", 9_223_372_036),
    ],
)
def test_an_interval_is_a_duration_of_go_in_whole_seconds(duration: str, seconds: int) -> None:
    assert parse(f"@every {duration}") == Every(seconds)


UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from([*UNITS])), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_the_parts_of_an_interval_add_up(added: list[tuple[int, str]]) -> None:
    seconds = sum(count * UNITS[unit] for count, unit in added) // 10**9
    assume(seconds >= 60)
    assert parse("@every " + "".join(f"{count}{unit}" for count, unit in added)) == Every(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * * * *", "more than once a minute"),
        ("*/30 * * * * *", "more than once a minute"),
        ("0,30 0 0 * * *", "more than once a minute"),
        ("@every 1s", "every 1 s"),
        ("@every 59.999s", "every 59 s"),
        ("@every 10ms", "every 1 s"),
        ("@every 0", "every 1 s"),
        ("@every -1h", "every 1 s"),
    ],
)
def test_what_airflow_cannot_keep_is_said_and_is_no_fault_of_the_trigger(text: str, why: str) -> None:
    with pytest.raises(NotKeptError, match=why) as caught:
        parse(text)
    assert not isinstance(caught.value, NoCronError)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "tomorrow",
        "* * * * *",
        "0 0 0 * * * *",
        "60 * * * * *",
        "0 60 * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 32 * *",
        "0 0 0 * 0 *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 * mon *",
        "0 0 0 * * jan",
        "0 0 0 * january *",
        "0 jan 0 * * *",
        "0 30-5 * * * *",
        "0 0 0 * * fri-mon",
        "0 */0 * * * *",
        "0 */-1 * * * *",
        "0 */x * * * *",
        "0 */ * * * *",
        "0 1/2/3 * * * *",
        "0 1-2-3 * * * *",
        "0 1- * * * *",
        "0 -1 * * * *",
        "0 1.5 * * * *",
        "0 1_0 * * * *",
        "0 0x1 * * * *",
        "0 \u0663 * * * *",
        "0 , * * * *",
        "0 ** * * * *",
        "0 0 0 L * *",
        "0 0 0 15W * *",
        "0 0 0 * * 1#2",
        "0 H * * * *",
        "@dayly",
        "@Daily",
        "@daily ",
        " @daily",
        "@reboot",
        "@",
        "@every",
        "@every ",
        "@every 10",
        "@every 1d",
        "@every 10 m",
        "@every  10m",
        "@every 10m ",
        "@every 1h,30m",
        "@every m",
        "@every .m",
        "@every 1..5m",
        "@every --1m",
        "@every 1e3s",
        "@every \u0663m",
        "@every 9223372037s",
        "@every 10000000h",
        "CRON_TZ=Nowhere/City 0 0 6 * * *",
        "CRON_TZ=../UTC 0 0 6 * * *",
        "CRON_TZ=UTC",
        "CRON_TZ=UTC\t0 0 6 * * *",
        "cron_tz=UTC 0 0 6 * * *",
        "CRON_TZ=UTC 0 6 * * *",
        "0 0 6 * * * " + " " * 1000,
        "1" * 900 + " 0 0 * * *",
    ],
)
def test_what_the_trigger_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(NoCronError) as caught:
        parse(text)
    assert caught.value.why
    assert caught.value.remedy


def said(text: str) -> str:
    """What is said of a text that isn't kept."""
    try:
        parse(text)
    except NotKeptError as error:
        return f"{error.why} {error.remedy}"
    return ""


@given(st.text(max_size=30) | st.text("0123456789*?/-,@ evrymhs.", max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused_in_words_that_can_be_shown(text: str) -> None:
    for before in ("", "@every ", "CRON_TZ="):
        assert said(before + text).isprintable()


EVENING = "0 0 18 * * *"


def with_crons(krt: Krt, *crons: str, schedule: str = "") -> Krt:
    """A trigger named ``tick`` and a number for each, before all others."""
    ticks = "".join(
        f'      - {{name: tick{i}, type: trigger, image: tick, config: {{cron: "{text}"}}, '
        "resourceLimits: {CPU: {request: 1}, memory: {request: 1M}}}\n"
        for i, text in enumerate(crons)
    )
    heard = ", ".join(["hook", *(f"tick{i}" for i in range(len(crons)))])
    extension = f"\n    x-airflow: {{schedule: '{schedule}'}}" if schedule else ""
    changed = krt.change("    processes:\n", f"    processes:\n{ticks}").change("[hook]", f"[{heard}]")
    return changed.change("type: training", f"type: training{extension}")


def codes(krt: Krt) -> list[tuple[str, str]]:
    return [(warning.code, warning.location) for warning in krt.check().warnings]


def location(index: int) -> str:
    return f"krt.workflows[0].processes[{index}].config.cron"


def test_airflow_keeps_the_time_of_a_cron_trigger(krt: Krt) -> None:
    timed = with_crons(krt, "CRON_TZ=Europe/Madrid 0 30 6 * * *")
    workflow = timed.check().require().workflows[0]
    assert (workflow.keeper, workflow.timing) == ("tick0", Cron("30 6 * * *", "Europe/Madrid"))
    assert codes(timed) == []


def test_of_two_cron_triggers_airflow_keeps_the_first_and_the_other_is_told(krt: Krt) -> None:
    timed = with_crons(krt, "@every 10m", EVENING)
    workflow = timed.check().require().workflows[0]
    assert (workflow.keeper, workflow.timing) == ("tick0", Every(600))
    assert codes(timed) == [("cron-not-kept", location(1))]


@pytest.mark.parametrize(
    ("text", "code"),
    [("@every 10s", "cron-not-kept"), ("0 0 0 30 2 *", "cron-not-kept"), ("0 6 * * *", "invalid-cron")],
)
def test_one_that_airflow_cannot_keep_leaves_the_place_to_the_next(krt: Krt, text: str, code: str) -> None:
    timed = with_crons(krt, text, EVENING)
    workflow = timed.check().require().workflows[0]
    assert (workflow.keeper, workflow.timing) == ("tick1", Cron("0 18 * * *"))
    assert codes(timed) == [(code, location(0))]


def test_a_schedule_of_the_extension_takes_the_place_of_the_first(krt: Krt) -> None:
    timed = with_crons(krt, "@every 10s", EVENING, schedule="@daily")
    workflow = timed.check().require().workflows[0]
    assert (workflow.keeper, workflow.timing, workflow.schedule) == ("tick0", None, "@daily")
    assert codes(timed) == [("cron-not-kept", location(1))]


def test_without_a_cron_trigger_there_is_no_keeper(krt: Krt) -> None:
    workflow = krt.check().require().workflows[0]
    assert (workflow.keeper, workflow.timing) == (None, None)


def test_a_key_named_cron_of_another_process_keeps_no_time(krt: Krt) -> None:
    told = krt.change("image: pick:v1", f"image: pick:v1\n        config: {{cron: '{EVENING}'}}")
    assert told.check().require().workflows[0].keeper is None
    assert codes(told) == []
