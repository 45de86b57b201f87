"""What a run was asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kai_airflow.operators.requests import ConfError, RunFacts, request_of

MANUAL = RunFacts("shop.train", "manual__1", False, None, None, datetime(2026, 1, 2, tzinfo=UTC))
DAILY = RunFacts(
    "shop.train",
    "scheduled__2026-01-02",
    True,
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
)


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
