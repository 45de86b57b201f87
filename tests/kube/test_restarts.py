"""A restart, written into a Deployment and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kai_airflow.kube.restarts import HELPED, RESTARTED, Restart

PLAIN: dict[str, Any] = {
    "metadata": {"name": "d", "annotations": {"a": "1"}},
    "spec": {"replicas": 1, "template": {"metadata": {"annotations": {"b": "2"}}, "spec": {}}},
}


def test_one_that_never_was_changes_nothing() -> None:
    assert Restart().on(PLAIN) == PLAIN
    assert Restart.of(PLAIN) == Restart.of(None) == Restart()


def test_it_is_read_back_as_it_was_written() -> None:
    asked = Restart.now()
    assert Restart.of(asked.on(PLAIN)) == asked
    assert Restart.of(asked.helped().on(PLAIN)) == asked.helped()


def test_only_the_template_of_its_pods_says_when_and_what_else_is_there_stays() -> None:
    made = Restart("moment").on(PLAIN)
    assert made["metadata"] == PLAIN["metadata"]
    assert made["spec"]["template"]["metadata"]["annotations"] == {"b": "2", RESTARTED: "moment"}
    helped = Restart("moment").helped().on(PLAIN)
    assert helped["spec"] == made["spec"]  # no pod rolls over for it
    assert helped["metadata"]["annotations"] == {"a": "1", HELPED: "moment"}


def test_that_an_earlier_one_helped_says_nothing_of_the_last() -> None:
    made = Restart("second").on(Restart("first").helped().on(PLAIN))
    assert Restart.of(made) == Restart("second", has_helped=False)


@pytest.mark.parametrize(("hours", "within"), [(0, True), (2, False)])
def test_whether_it_was_lately_is_told(hours: int, within: bool) -> None:
    asked = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    assert Restart(asked).is_within(timedelta(hours=1)) is within


@pytest.mark.parametrize("asked", ["", "a person's own text", "2026-01-01T00:00:00"])
def test_what_is_no_moment_was_never(asked: str) -> None:
    assert not Restart(asked).is_within(timedelta(hours=1))
