"""What the example's processes compute: pure functions of JSON, so that a day determines its report.

A day of quarter-hourly readings is made up for each site, with gaps and spikes as meters have them. They are mended,
and two waves, a day and half a day long, are laid through them: that is the forecast for the day that follows.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Json: TypeAlias = Any

SITES = {"bakery": 40.0, "office": 120.0, "foundry": 900.0}  # kW on average
QUARTERS = 96
GAPS, SPIKES = 4, 3
WAVES = 2

# A spike is off by more than so much of the median of what is around it.
TOLERANCE = 0.5


def day_of(payload: Json) -> date:
    """The day that a run is about: the one that its interval ends with, or the one that a person names.

    :raises ValueError: neither is said
    """
    match payload:
        case {"day": str(day)}:
            return date.fromisoformat(day)
        case {"data_interval_end": str(end)}:
            # An interval ends with the first moment of the next day.
            return (datetime.fromisoformat(end) - timedelta(microseconds=1)).date()
    raise ValueError('no day is said. Remedy: start the run with {"payload": {"day": "2026-01-31"}}.')


def readings(day: date) -> list[dict[str, Any]]:
    """A message for each site: a day of readings in kW, None where one is missing."""
    return [{"site": site, "day": day.isoformat(), "values": _measured(day, site)} for site in SITES]


def mend(message: Json) -> dict[str, Any]:
    """The same with its spikes cut and all gaps filled, and how many there were."""
    values = message["values"]
    spikes = {at for at in range(len(values)) if _is_spike(values, at)}
    known = [None if at in spikes else value for at, value in enumerate(values)]
    mended = [_between(known, at) if value is None else value for at, value in enumerate(known)]
    return {**message, "values": mended, "gaps": values.count(None), "spikes": len(spikes)}


def forecast(message: Json) -> dict[str, Any]:
    """The next day by the hour, and how far the curve is from the readings that it was laid through (RMS, in kW)."""
    values = message["values"]
    waves = [_wave(values, length) for length in range(1, WAVES + 1)]
    mean = sum(values) / len(values)
    curve = [mean + sum(a * math.cos(at * n) + b * math.sin(at * n) for n, (a, b) in waves) for at in _angles(values)]
    error = math.sqrt(sum((value - fitted) ** 2 for value, fitted in zip(values, curve, strict=True)) / len(values))
    hourly = [round(kilowatts, 1) for kilowatts in curve[:: len(curve) // 24]]
    found = {key: message[key] for key in ("site", "day", "gaps", "spikes")}
    return {**found, "error": round(error, 2), "peak_hour": hourly.index(max(hourly)), "hourly": hourly}


def report(forecasts: Sequence[Json]) -> dict[str, Any]:
    """One report of all sites: which day it is about, and for each the next day's load."""
    (day,) = {one["day"] for one in forecasts}
    total = [round(sum(hour), 1) for hour in zip(*(one["hourly"] for one in forecasts), strict=True)]
    return {
        "day": day,
        "forecast_for": (date.fromisoformat(day) + timedelta(days=1)).isoformat(),
        "sites": {one["site"]: {key: one[key] for key in one if key not in ("site", "day")} for one in forecasts},
        "peak": {"hour": total.index(max(total)), "kilowatts": max(total)},
    }


def expected(day: date) -> dict[str, Any]:
    """What the workflow publishes for this day."""
    return report([forecast(mend(message)) for message in readings(day)])


def _measured(day: date, site: str) -> list[float | None]:
    random = Random(f"{day} {site}")
    average = SITES[site] * (0.7 if day.weekday() > 4 else 1.0) * random.uniform(0.9, 1.1)
    morning, evening = random.gauss(8, 0.5), random.gauss(18, 0.5)
    values = [
        (at, round(average * (0.6 + _bump(at / 4, morning) + _bump(at / 4, evening)) * random.gauss(1, 0.03), 2))
        for at in range(QUARTERS)
    ]
    faulty = random.sample(range(QUARTERS), GAPS + SPIKES)
    return [None if at in faulty[:GAPS] else round(value * 4, 2) if at in faulty else value for at, value in values]


def _bump(hour: float, at: float) -> float:
    return math.exp(-((hour - at) ** 2) / 8)


def _is_spike(values: Sequence[float | None], at: int) -> bool:
    """Whether a reading is far from what is usual around it."""
    value, near = values[at], [value for value in values[max(0, at - 4) : at + 5] if value is not None]
    return value is not None and abs(value - median(near)) > TOLERANCE * median(near)


def _between(values: Sequence[float | None], at: int) -> float:
    """A straight line between the readings before and after a gap."""
    before = [(n, value) for n, value in enumerate(values[:at]) if value is not None][-1:]
    after = [(n, value) for n, value in enumerate(values[at:], at) if value is not None][:1]
    if not before or not after:
        return (before or after)[0][1]
    (left, low), (right, high) = before[0], after[0]
    return low + (high - low) * (at - left) / (right - left)


def _angles(values: Sequence[float]) -> list[float]:
    return [2 * math.pi * at / len(values) for at in range(len(values))]


def _wave(values: Sequence[float], length: int) -> tuple[int, tuple[float, float]]:
    """The least squares fit of one wave; over whole days they don't disturb each other."""
    pairs = list(zip(_angles(values), values, strict=True))
    cosine = sum(value * math.cos(at * length) for at, value in pairs) * 2 / len(values)
    sine = sum(value * math.sin(at * length) for at, value in pairs) * 2 / len(values)
    return length, (cosine, sine)
