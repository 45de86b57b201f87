"""``kai-airflow sweep``: pods of a Kubernetes API, states of an Airflow's tasks."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow import kube
from tests.cli.airflow_stub import serving
from tests.operators.conftest import api, kubernetes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cli.airflow_stub import AirflowStub
    from tests.operators.conftest import Kubernetes

__all__ = ["api", "kubernetes"]

# Every pod is old enough.
PROGRAM = """
import sys
from kai_airflow import cli
from kai_airflow.bridge import sweep
sweep.YOUNGEST = 0.0
sys.exit(cli.main())
"""
DAG, RUN, TASK = "shop.train", "manual__2026-01-01T00:00:00+00:00", "splitter"


@pytest.fixture
async def airflow() -> AsyncIterator[AirflowStub]:
    async with serving() as stub:
        yield stub


async def run(kubernetes: Kubernetes, airflow: AirflowStub, *words: str) -> tuple[int | None, str, str]:
    """Sweep; exit code, and what is said."""
    variables = {"KUBECONFIG": str(kubernetes.home / "kubeconfig"), "KAI_AIRFLOW_URL": f"{airflow.url}/"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "sweep", *words),
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def add_pod(api: Any, url: str) -> None:
    annotations = kube.task_annotations(kube.TaskName(url, DAG, RUN, TASK))
    metadata = {"name": "left", "namespace": "default", "labels": {kube.TRY_LABEL: "t"}, "annotations": annotations}
    container = {"name": kube.CONTAINER, "image": "sh", "args": ["sleep 1000"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    await api.create_namespaced_pod("default", {"metadata": metadata, "spec": spec})


async def test_a_pod_is_ended_only_where_airflow_says_that_its_task_has_ended(
    api: Any, kubernetes: Kubernetes, airflow: AirflowStub
) -> None:
    await add_pod(api, airflow.url)
    airflow.tasks[DAG, RUN, TASK] = "deferred"
    assert await run(kubernetes, airflow) == (0, "0 pod(s) ended\n", "")
    airflow.tasks[DAG, RUN, TASK] = "failed"
    found = f"pod default/left: {TASK} of run {RUN} of {DAG} is failed\n"
    assert await run(kubernetes, airflow, "--dry-run") == (0, f"{found}1 pod(s) to end\n", "")
    assert not (await api.list_namespaced_pod("default")).items[0].metadata.deletion_timestamp
    assert await run(kubernetes, airflow) == (0, f"{found}1 pod(s) ended\n", "")
    assert all(pod.metadata.deletion_timestamp for pod in (await api.list_namespaced_pod("default")).items)


async def test_an_airflow_that_does_not_tell_leaves_all_pods_and_is_an_error(
    api: Any, kubernetes: Kubernetes, airflow: AirflowStub
) -> None:
    await add_pod(api, airflow.url)
    airflow.lets_in = False
    code, out, err = await run(kubernetes, airflow)
    assert (code, out) == (2, "")
    assert "401" in err
    assert "Remedy: set KAI_AIRFLOW_USER and KAI_AIRFLOW_PASSWORD." in err
    assert not (await api.list_namespaced_pod("default")).items[0].metadata.deletion_timestamp
