"""What ``config.cron`` of KAI's cronjob-trigger means, in Airflow's words.

The trigger takes six fields, seconds first, descriptors such as ``@daily``, ``@every 90s``, and a time zone before them
(``CRON_TZ=Europe/Madrid 0 0 6 * * *``). Airflow takes five fields and, where all runs fall on one second of a minute,
a sixth one behind them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from kai_airflow.krt import schedules
from kai_airflow.krt.wording import quoted
from kai_airflow.krt.zones import is_zone

_ZONE = re.compile(r"(?:CRON_)?TZ=([^ ]*) (.*)", re.DOTALL)
_DURATION = re.compile(r"(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(ns|us|µs|μs|ms|s|m|h)")
_SECOND = 10**9  # nanoseconds, as Go counts them
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_INT64 = 1 << 63
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = 200
_NUMBER = re.compile(r"\+?[0-9]+")
_COARSEST = 60  # seconds: Airflow's schedules are of minutes


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in Airflow's order of fields; ``timezone`` is the one that it names itself."""

    expression: str
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Every:
    """An interval in seconds."""

    seconds: int


Timing: TypeAlias = Cron | Every


class NotKeptError(Exception):
    """What Airflow can't keep: ``why``, and what to do about it."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


class NoCronError(NotKeptError):
    """Text that cronjob-trigger itself doesn't take."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    of_days: bool = False


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31, of_days=True),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS, of_days=True),
)


@dataclass(frozen=True, slots=True)
class _Range:
    """``low-high/step``; ``star``: to be written as one."""

    low: int
    high: int
    step: int = 1
    star: bool = False


def parse(text: str) -> Timing:
    """The schedule; raises NoCronError for what is none, NotKeptError for what Airflow can't keep."""
    if len(text) > _LONGEST:
        raise _no_cron(f"it is longer than {_LONGEST} characters")
    zone, rest = _zone(text)
    if rest.startswith("@every "):
        return Every(_interval(rest.removeprefix("@every ")))
    if rest.startswith("@"):
        if rest not in _DESCRIPTORS:
            raise _no_cron("it is no descriptor that the trigger knows")
        return Cron(_DESCRIPTORS[rest], zone)
    return Cron(_expression(rest), zone)


def _zone(text: str) -> tuple[str | None, str]:
    found = _ZONE.fullmatch(text)
    if found is None:
        return None, text
    zone = found[1] or "UTC"
    if not is_zone(zone):
        raise _no_cron("its time zone is unknown")
    return zone, found[2].strip()


def _interval(text: str) -> int:
    negative, unsigned = text.startswith("-"), text[1:] if text.startswith(("+", "-")) else text
    nanoseconds = _duration(unsigned)
    if nanoseconds is None or nanoseconds >= _INT64:
        raise _no_cron("after @every comes a duration such as 90s, 10m or 1h30m")
    seconds = 1 if negative else max(1, nanoseconds // _SECOND)  # the trigger knows no shorter interval
    if seconds < _COARSEST:
        raise NotKeptError(
            f"it fires every {seconds} s, and Airflow's schedules are of minutes",
            "Write '@every 1m' or more to have Airflow keep the time.",
        )
    return seconds


def _duration(text: str) -> int | None:
    """Nanoseconds of a duration as Go has them, without its sign; None where it is none."""
    total, at = 0, 0
    while at < len(text) and text != "0":
        found = _DURATION.match(text, at)
        if found is None:
            return None
        whole, fraction, unit = found[1] or "0", found[2] or found[3] or "0", _NANOSECONDS[found[4]]
        total += int(whole) * unit + int(fraction) * unit // 10 ** len(fraction)
        at = found.end()
    return total if text else None


def _expression(text: str) -> str:
    words = text.split()
    if len(words) != len(_FIELDS):
        raise _no_cron(f"it has {len(words)} fields instead of six, seconds first")
    ranges = [_ranges(word, field) for word, field in zip(words, _FIELDS, strict=True)]
    second = _only(ranges[0])
    if second is None:
        raise NotKeptError(
            "it fires more than once a minute, and Airflow's schedules are of minutes",
            "Write one second as the first field, such as '0 */5 * * * *', to have Airflow keep the time.",
        )
    expression = " ".join([*map(_shown, ranges[1:]), *([str(second)] if second else [])])
    if reason := schedules.problem(expression):
        raise NotKeptError(f"it {reason}", "Write a time that comes, such as a day that one of the months has.")
    return expression


def _ranges(word: str, field: _Field) -> list[_Range]:
    return [_range(part, field) for part in word.split(",") if part] or [_range(word, field)]


def _range(part: str, field: _Field) -> _Range:
    span, slash, step = part.partition("/")
    low, dash, high = span.partition("-")
    every = int(step) if _NUMBER.fullmatch(step) else 0
    if slash and not every:
        raise _no_cron(f"its {field.name} has the step {quoted(step)}")
    if low in ("*", "?"):  # the trigger overlooks what follows a dash there
        return _every_value(field, every or 1)
    first = _number(low, field)
    last = _number(high, field) if dash else field.high if slash else first
    if first > last:
        raise _no_cron(f"its {field.name} has a range that ends before it begins")
    return _Range(first, last, every or 1) if every <= last - first else _Range(first, first)


def _every_value(field: _Field, step: int) -> _Range:
    """A star. Where both fields of days are given without one, any of them is enough, for Airflow as for KAI; a star
    with a step is none for KAI, and so mustn't be one for Airflow.
    """
    if step > field.high - field.low:
        return _Range(field.low, field.low)
    return _Range(field.low, field.high, step, star=step == 1 or not field.of_days)


def _number(text: str, field: _Field) -> int:
    name = text.lower()
    value = field.low + field.names.index(name) if name in field.names else -1
    if _NUMBER.fullmatch(text):
        value = int(text)
    if not field.low <= value <= field.high:
        raise _no_cron(f"its {field.name} is none of {field.low} to {field.high}")
    return value


def _only(ranges: list[_Range]) -> int | None:
    """The one value that they hold, if it is one."""
    values = {value for part in ranges for value in range(part.low, part.high + 1, part.step)}
    return values.pop() if len(values) == 1 else None


def _is_free(part: _Range) -> bool:
    """Whether it leaves the day to the other field of days: a star, but not one with steps."""
    return part.star and part.step == 1


def _shown(ranges: list[_Range]) -> str:
    """In Airflow's words. A star next to other values is all of them."""
    return "*" if any(map(_is_free, ranges)) else ",".join(map(_written, ranges))


def _written(part: _Range) -> str:
    if part.low == part.high:
        return str(part.low)
    span = "*" if part.star else f"{part.low}-{part.high}"
    return f"{span}/{part.step}" if part.step > 1 else span


def _no_cron(why: str) -> NoCronError:
    return NoCronError(why, "Write six fields, seconds first, such as '0 30 6 * * *', or '@every 10m'.")
