"""Which containers have ended between two looks at a pod."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kai_airflow.bridge.live import ends
from kai_airflow.bridge.live.ends import Labels

LABELS = Labels("shop", "v1.0.0", "train", "work", "task")
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD = {"terminated": {"exitCode": 1}}
RUNS = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
WAITS = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(state: dict[str, Any] | None, restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    statuses = [{"name": "sidecar", "restartCount": 9, "state": DEAD, "lastState": DEAD}]
    if state is not None:
        statuses.append({"name": "process", "restartCount": restarts, "state": state, "lastState": last or {}})
    return {"metadata": {"name": "p", "labels": LABELS._asdict()}, "status": {"containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("before", "now", "ended"),
    [
        (pod(RUNS), pod(DEAD), True),
        (pod(DEAD), pod(WAITS, 0, DEAD), False),  # that end was told
        (pod(WAITS, 0, DEAD), pod(RUNS, 1, DEAD), False),
        (pod(RUNS), pod(RUNS, 1, DEAD), True),  # nobody saw it stand still
        (pod(RUNS, 1, DEAD), pod(WAITS, 1, DEAD), True),
        (pod(RUNS), None, True),
        (pod(DEAD), None, False),
        (pod(None), None, False),  # never started
        (pod(None), pod(RUNS), False),
        (pod({"waiting": {"reason": "ContainerCreating"}}), pod(RUNS), False),
        (None, pod(RUNS), False),
        (pod(RUNS), pod(RUNS), False),
    ],
)
def test_each_end_of_a_container_is_noticed_once(before: Any, now: Any, ended: bool) -> None:
    assert ends.has_ended(before, now) is ended


def test_a_pod_is_told_to_end_once_and_has_its_grace_for_it() -> None:
    told = {**pod(RUNS), "metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z", "deletionGracePeriodSeconds": 10}}
    looks = [(pod(RUNS), pod(RUNS)), (pod(RUNS), told), (told, told), (told, None), (None, told), (None, pod(RUNS))]
    assert [ends.is_told_to_end(*look) for look in looks] == [False, True, False, False, True, False]
    assert ends.patience(told) == 10 + ends.LOST


def test_an_end_may_have_been_missed_where_nothing_runs_or_what_runs_is_younger_than_the_last_look() -> None:
    assert ends.may_have_ended([], LABELS, None)
    assert ends.may_have_ended([pod(DEAD)], LABELS, None)
    assert not ends.may_have_ended([pod(RUNS)], LABELS, None)
    assert not ends.may_have_ended([pod(RUNS)], LABELS, BEGAN + timedelta(seconds=30))
    assert ends.may_have_ended([pod(RUNS)], LABELS, BEGAN - timedelta(seconds=30))
    assert ends.may_have_ended([pod(RUNS)], LABELS, BEGAN + timedelta(seconds=2))  # clocks differ


def test_labels_are_kais_and_empty_where_there_are_none() -> None:
    assert Labels.of(pod(RUNS)) == LABELS
    assert Labels.of({"metadata": {}}) == Labels("", "", "", "", "")
