"""What the second example computes, and its processes on a real nats-server."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.demo.load.curve import GAPS, QUARTERS, SITES, SPIKES, day_of, expected, forecast, mend, readings
from kai_airflow.messaging.codec import unpack
from tests.conftest import heard

if TYPE_CHECKING:
    from tests.conftest import LiveWorkflow

DAY = date(2026, 1, 5)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_every_days_faults_are_found_and_mended(day: date) -> None:
    for message in map(mend, readings(day)):
        assert message["gaps"] == GAPS
        assert message["spikes"] >= SPIKES
        assert len(message["values"]) == QUARTERS
        assert all(0 < value < 4 * SITES[message["site"]] for value in message["values"])


def test_each_day_and_each_site_has_readings_of_its_own() -> None:
    days = [tuple(message["values"]) for day in (DAY, date(2026, 1, 6)) for message in readings(day)]
    assert len(set(days)) == 2 * len(SITES)
    assert readings(DAY) == readings(DAY)


def test_gaps_at_the_edges_take_the_nearest_reading() -> None:
    values = [None, 2.0, None, 4.0, None]
    assert mend({"values": values})["values"] == [2.0, 2.0, 3.0, 4.0, 4.0]


def test_a_curve_of_one_wave_is_found_again() -> None:
    flat = {"site": "s", "day": "2026-01-05", "gaps": 0, "spikes": 0, "values": [5.0] * QUARTERS}
    made = forecast(flat)
    assert made["hourly"] == [5.0] * 24
    assert made["error"] == 0


def test_a_report_is_of_all_sites_and_for_the_next_day() -> None:
    report = expected(DAY)
    assert (report["day"], report["forecast_for"]) == ("2026-01-05", "2026-01-06")
    assert set(report["sites"]) == set(SITES)
    assert all(len(site["hourly"]) == 24 for site in report["sites"].values())
    assert expected(date(2026, 1, 6)) != report


@pytest.mark.parametrize(
    "payload",
    [
        {"day": "2026-01-05"},
        {"data_interval_end": "2026-01-06T00:00:00+00:00", "message": "m"},
        {"data_interval_end": "2026-01-05T09:30:00+00:00"},
    ],
)
def test_a_run_is_about_the_day_that_its_interval_ends_with(payload: dict[str, str]) -> None:
    assert day_of(payload) == DAY


@pytest.mark.parametrize("payload", [None, {}, {"day": 5}, {"day": "someday"}])
def test_a_run_that_says_no_day_is_told_how_to(payload: object) -> None:
    with pytest.raises(ValueError, match=r"Remedy: start the run|Invalid isoformat"):
        day_of(payload)


async def test_its_processes_publish_the_report_of_the_day(live: LiveWorkflow) -> None:
    chain = {"readings": "midnight", "cleaning": "readings", "forecast": "cleaning", "report": "forecast"}
    await live.prepare(["midnight", *chain])
    for process, upstream in chain.items():
        program = await live.run(live.app(process, [upstream]), "-m", f"kai_airflow.demo.load.{process}")
        await program.said("listening to")
    listening = await live.listen("report")
    await live.send("midnight", {"day": DAY.isoformat()}, "one")
    await live.send("midnight", {"data_interval_end": "2026-01-07T00:00:00+00:00"}, "two")
    answers = [await heard(listening), await heard(listening)]
    assert [(one.request_id, unpack(one.payload)) for one in answers] == [
        ("one", expected(DAY)),
        ("two", expected(date(2026, 1, 6))),
    ]
