"""What a run was asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kai_airflow.operators.requests import ConfError, Request, RunFacts, Trigger
from kai_airflow.operators.requests import request_of as request_of_triggers

MANUAL = RunFacts("shop.train", "manual__1", False, None, None, datetime(2026, 1, 2, tzinfo=UTC))
DAILY = RunFacts(
    "shop.train",
    "scheduled__2026-01-02",
    True,
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
)
CRON = {"cron": "0 0 0 * * *", "message": "wake up"}


def request_of(facts: RunFacts, conf: dict[str, Any], names: list[str], **configs: dict[str, str]) -> Request:
    """Of triggers with these names; those with a configuration keep time."""
    triggers = [Trigger(name, configs.get(name, {}), keeps_time=name in configs) for name in names]
    return request_of_triggers(facts, conf, triggers)


def test_a_person_gives_payload_trigger_and_id() -> None:
    conf = {"payload": [1, {"a": None}], "trigger": "second", "request_id": "mine"}
    request = request_of(MANUAL, conf, ["first", "second"])
    assert (request.trigger, request.request_id, request.payload) == ("second", "mine", [1, {"a": None}])


def test_an_empty_conf_is_a_request_without_payload_for_the_only_trigger() -> None:
    request = request_of(MANUAL, {}, ["only"])
    assert (request.trigger, request.payload) == ("only", None)


def test_the_id_is_made_of_the_run_so_that_a_clear_repeats_it_and_no_other_run_has_it() -> None:
    first, again = request_of(MANUAL, {}, ["t"]), request_of(MANUAL, {}, ["t"])
    other = request_of(replace(MANUAL, run_id="manual__2"), {}, ["t"])
    other_dag = request_of(replace(MANUAL, dag_id="shop.serve"), {}, ["t"])
    assert first.request_id == again.request_id
    assert len({first.request_id, other.request_id, other_dag.request_id}) == 3


def test_a_scheduled_run_says_which_interval_it_is_for() -> None:
    request = request_of(DAILY, {}, ["first", "second"])
    assert request.trigger == "first"
    assert request.payload == {
        "data_interval_start": "2026-01-01T00:00:00+00:00",
        "data_interval_end": "2026-01-02T00:00:00+00:00",
        "logical_date": "2026-01-01T00:00:00+00:00",
    }


def test_a_payload_given_to_a_backfill_wins_over_the_interval() -> None:
    assert request_of(DAILY, {"payload": 0}, ["t"]).payload == 0


def test_the_schedule_of_a_cron_trigger_says_what_kais_own_would() -> None:
    request = request_of(DAILY, {}, ["webhook", "clock"], clock=CRON)
    assert request.trigger == "clock"
    assert request.payload == {
        "data_interval_start": "2026-01-01T00:00:00+00:00",
        "data_interval_end": "2026-01-02T00:00:00+00:00",
        "logical_date": "2026-01-01T00:00:00+00:00",
        "message": "wake up",
        "time": "Fri Jan 2 00:00:00 UTC 2026",
    }


def test_the_time_of_a_run_without_an_interval_is_its_logical_date_in_utc() -> None:
    madrid = datetime(2026, 6, 30, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    facts = replace(DAILY, data_interval_start=None, data_interval_end=None, logical_date=madrid)
    request = request_of(facts, {}, ["clock"], clock={"cron": "@every 10s"})
    assert request.payload["message"] == ""
    assert request.payload["time"] == "Mon Jun 29 23:02:03 UTC 2026"
    nowhere = request_of(replace(facts, logical_date=None), {}, ["clock"], clock=CRON)
    assert nowhere.payload["time"] is None


def test_a_person_who_starts_a_cron_triggers_workflow_says_what_they_like() -> None:
    assert request_of(MANUAL, {}, ["clock"], clock=CRON).payload is None
    assert request_of(DAILY, {"trigger": "webhook"}, ["clock", "webhook"], clock=CRON).trigger == "webhook"


def test_what_a_form_leaves_empty_is_left_out() -> None:
    request = request_of(MANUAL, {"payload": None, "trigger": None, "request_id": None}, ["only"])
    assert (request.trigger, request.payload) == ("only", None)
    assert request.request_id == request_of(MANUAL, {}, ["only"]).request_id
    backfilled = request_of(DAILY, {"payload": None, "trigger": None}, ["only"])
    assert backfilled.payload["data_interval_start"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"event": {}}, "unknown key 'event'"),
        ({"trigger": "third"}, "no trigger 'third'. Remedy: one of first, second"),
        ({"trigger": 3}, "conf.trigger: int instead of text"),
        ({"request_id": ["x"]}, "conf.request_id: list instead of text"),
        ({"payload": 1}, "conf.trigger is missing. Remedy: name one of first, second"),
    ],
)
def test_a_conf_that_cannot_be_followed_says_what_to_write(conf: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfError, match=said):
        request_of(MANUAL, conf, ["first", "second"])
