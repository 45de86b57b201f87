"""Finding and ending pods that no task waits for, on the local Kubernetes API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow import kube
from kai_airflow.bridge import sweep

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

    from kai_airflow.bridge.sweep import Orphan

AIRFLOW = "https://airflow.example.com"
TASK = kube.TaskName(AIRFLOW, "shop.train", "manual__2026-01-01T00:00:00+00:00", "splitter")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pod is old enough."""
    monkeypatch.setattr(sweep, "YOUNGEST", 0.0)


def pod(name: str, task: kube.TaskName | None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "default",
        "labels": {kube.TRY_LABEL: name} if labels is None else labels,
        "annotations": kube.task_annotations(task) if task else {},
    }
    container = {"name": kube.CONTAINER, "image": "sh", "args": ["sleep 1000"]}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container]}}


async def made(api: Any, *pods: dict[str, Any]) -> None:
    for one in pods:
        await api.create_namespaced_pod("default", one)


async def found(api: CoreV1Api, state: str | None, namespace: str | None = "default") -> list[Orphan]:
    async def told(_: kube.TaskName) -> str | None:
        return state

    return [orphan async for orphan in sweep.orphans(api, AIRFLOW, namespace, told)]


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed", None])
async def test_the_pod_of_a_task_that_has_ended_or_is_gone_is_an_orphan(api: CoreV1Api, state: str | None) -> None:
    await made(api, pod("left", TASK))
    (orphan,) = await found(api, state)
    assert (orphan.namespace, orphan.pod, orphan.task, orphan.state) == ("default", "left", TASK, state)
    assert "splitter of run manual__2026-01-01" in str(orphan)
    assert await found(api, state, namespace=None) == [orphan]


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("state", sorted(sweep.ACTIVE))
async def test_the_pod_of_a_task_that_works_or_is_tried_again_is_none(api: CoreV1Api, state: str) -> None:
    await made(api, pod("working", TASK))
    assert await found(api, state) == []


@pytest.mark.usefixtures("old")
async def test_pods_of_others_are_never_touched(api: CoreV1Api) -> None:
    await made(
        api,
        pod("a-stranger", None, labels={"app": "web"}),
        pod("without-task", None),
        pod("of-another-airflow", replace(TASK, airflow="https://staging.example.com")),
        pod("without-label", TASK, labels={}),
    )
    assert await found(api, None) == []


async def test_a_pod_that_was_made_a_moment_ago_is_left_alone(api: CoreV1Api) -> None:
    await made(api, pod("young", TASK))
    assert await found(api, "failed") == []


@pytest.mark.usefixtures("old")
async def test_an_ended_orphan_is_found_no_more_and_ending_it_again_is_fine(api: CoreV1Api) -> None:
    await made(api, pod("left", TASK))
    (orphan,) = await found(api, "failed")
    await sweep.end(api, orphan)
    assert await found(api, "failed") == []
    await sweep.end(api, orphan)


@pytest.mark.usefixtures("old")
async def test_a_pod_that_has_taken_an_orphans_name_is_not_ended(api: Any) -> None:
    await made(api, pod("left", TASK))
    (orphan,) = await found(api, "failed")
    await sweep.end(api, replace(orphan, uid="another"))
    assert await found(api, "failed") == [orphan]
