"""The steps of rollouts alone."""

from __future__ import annotations

from typing import Any

import pytest

from kai_airflow.local.kubernetes import rollout
from kai_airflow.local.kubernetes.rollout import HASH, Step, step, template_hash


def spec(replicas: int, surge: int | str = "25%", unavailable: int | str = "25%", kind: str = "RollingUpdate") -> Any:
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}} if kind == "RollingUpdate" else {}
    return {"replicas": replicas, "strategy": {"type": kind, **rolling}, "template": {"spec": {"a": 1}}}


def pod(name: str, *, new: bool = False, ready: bool = True, ends: bool = False, waits: str = "") -> Any:
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {HASH: template_hash(spec(1)) if new else "other"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "1",
        **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ends else {}),
    }
    states = [{"state": {"waiting": {"reason": waits}}}] if waits else []
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"conditions": conditions, "containerStatuses": states}}


OLD, NEW = pod("old"), pod("new", new=True)


def test_no_pods_are_all_made() -> None:
    assert step(spec(3), []) == Step(create=3)


def test_as_many_as_wanted_is_the_end() -> None:
    assert step(spec(1), [NEW]) == Step()


def test_one_pod_is_joined_by_a_new_one_and_goes_when_that_is_ready() -> None:
    assert step(spec(1), [OLD]) == Step(create=1)
    assert step(spec(1), [OLD, pod("new", new=True, ready=False)]) == Step()
    assert step(spec(1), [OLD, NEW]) == Step(delete=("old",))


@pytest.mark.parametrize(
    ("surge", "unavailable", "create", "delete"),
    [(1, 0, 1, 0), (0, 1, 0, 1), ("25%", "25%", 1, 1), ("50%", 0, 2, 0), ("100%", "50%", 4, 2), (0, 0, 0, 1)],
)
def test_how_many_may_be_too_many_or_too_few(surge: Any, unavailable: Any, create: int, delete: int) -> None:
    found = step(spec(4, surge, unavailable), [pod(f"old-{number}") for number in range(4)])
    assert (found.create, len(found.delete)) == (create, delete)


def test_old_pods_that_are_not_ready_go_at_once() -> None:
    broken = pod("broken", ready=False)
    assert step(spec(2, 1, 0), [OLD, broken]) == Step(create=1, delete=("broken",))


def test_a_pod_that_is_being_deleted_does_not_count() -> None:
    assert step(spec(1), [pod("gone", new=True, ends=True)]) == Step(create=1)


def test_too_many_lose_those_that_are_not_ready_first() -> None:
    pods = [pod("a", new=True), pod("b", new=True, ready=False), pod("c", new=True)]
    assert step(spec(2), pods) == Step(delete=("b",))


def test_recreate_makes_none_before_the_last_old_one_is_gone() -> None:
    assert step(spec(1, kind="Recreate"), [OLD]) == Step(delete=("old",))
    assert step(spec(1, kind="Recreate"), [pod("old", ends=True)]) == Step()
    assert step(spec(1, kind="Recreate"), []) == Step(create=1)


def test_an_old_pod_makes_room_for_a_new_one_that_waits_for_its_port() -> None:
    waiting = pod("new", new=True, ready=False, waits="PortTaken")
    assert step(spec(1), [OLD, waiting]) == Step(delete=("old",))


def test_the_hash_is_of_the_template_alone() -> None:
    assert template_hash(spec(1)) == template_hash(spec(2, 1, 1))
    assert template_hash(spec(1)) != template_hash({**spec(1), "template": {"spec": {"a": 2}}})
    assert len(template_hash(spec(1))) == 10
    assert rollout.is_updated(spec(1), NEW)
