"""What a product is doing, derived from facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow import krt
from kai_airflow.bridge.client import Dag
from kai_airflow.bridge.lifecycle.status import Facts, Objects, by_product, product_status
from kai_airflow.kube.ingress import Publishing, ingress
from kai_airflow.kube.live import site_label
from kai_airflow.kube.objects import labels
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from pathlib import Path

    from kai_airflow.bridge.lifecycle.status import ProductStatus
    from kai_airflow.plan import Workflow

RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"
NETWORKING = "{targetPort: 80, destinationPort: 80}"
KRT = f"""\
version: v1.0.0
description: a shop
workflows:
  - name: serve
    type: serving
    processes:
      - {{name: rest, type: trigger, image: 'rest:v1', networking: {NETWORKING}, {RESOURCES}}}
      - {{name: exit, type: exit, image: 'exit:v1', subscriptions: [rest], {RESOURCES}}}
  - name: daily
    type: data
    processes:
      - {{name: clock, type: trigger, image: 'clock:v1', config: {{cron: '0 0 4 * * *'}}, {RESOURCES}}}
      - {{name: exit, type: exit, image: 'exit:v1', subscriptions: [clock], {RESOURCES}}}
"""
UNPAUSED, PAUSED, BROKEN = (
    Dag(paused=False, broken=False),
    Dag(paused=True, broken=False),
    Dag(paused=False, broken=True),
)
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.fixture
def workflows(tmp_path: Path) -> list[Workflow]:
    """Of the product shop: serve, whose processes live, and daily, which lives in its runs alone."""
    (tmp_path / "krt.yaml").write_text(KRT)
    report = krt.load(tmp_path / "krt.yaml", PurePosixPath("shop/krt.yaml"))
    assert report.product is not None
    return list(compile_product(report.product).workflows)


def deployment(workflow: Workflow, name: str, **status: int) -> dict[str, Any]:
    """One of replicas 1 that has come to what it says, but for what is given."""
    process = next(one for one in workflow.processes if one.name == name)
    assert process.live is not None
    ready = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    metadata = {"namespace": "default", "name": process.live.deployment, "generation": 2}
    return {"metadata": metadata, "spec": {"replicas": 1}, "status": ready | status}


def pod(workflow: Workflow, name: str, state: dict[str, Any], *, restarts: int = 0, made: str = "1") -> dict[str, Any]:
    process = next(one for one in workflow.processes if one.name == name)
    metadata = {"namespace": "default", "name": name, "labels": labels(workflow, process), "creationTimestamp": made}
    container = {"name": "process", "state": state, "restartCount": restarts}
    return {"metadata": metadata, "status": {"containerStatuses": [container]}}


def status(workflows: list[Workflow], dag: Dag | None, objects: Objects | None = None, *touched: str) -> ProductStatus:
    """With both DAGs as given."""
    dags = {str(one.dag_id): dag for one in workflows if dag}
    return product_status(workflows, Facts(dags, touched, objects))


def objects(serve: Workflow, *, rest: dict[str, int] | None = None, **more: Any) -> Objects:
    """Both processes of serve are ready, but for what is given of rest."""
    return Objects("default", [deployment(serve, "rest", **(rest or {})), deployment(serve, "exit")], **more)


NOTHING = Objects("default")
UNREADY = {"readyReplicas": 0, "availableReplicas": 0}


def test_created_is_what_nobody_has_ever_unpaused(workflows: list[Workflow]) -> None:
    assert status(workflows, PAUSED, NOTHING).state == "CREATED"
    assert status(workflows, PAUSED, NOTHING, "shop.serve").state == "STOPPED"


def test_a_dag_that_airflow_does_not_know_is_said(workflows: list[Workflow]) -> None:
    found = status(workflows, None, NOTHING)
    assert (found.state, found.cause) == ("CREATED", "serve: Airflow has no such DAG (yet)")
    assert {one.paused for one in found.workflows} == {None}


def test_unpaused_without_deployments_is_starting(workflows: list[Workflow]) -> None:
    found = status(workflows, UNPAUSED, NOTHING)
    assert (found.state, found.cause) == ("STARTING", "serve: rest: no bridge has made its Deployment yet")


def test_all_ready_is_started(workflows: list[Workflow]) -> None:
    found = status(workflows, UNPAUSED, objects(workflows[0]))
    assert (found.state, found.cause) == ("STARTED", "")
    assert [(one.ready, one.wanted) for one in found.workflows[0].processes] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    "unready",
    [UNREADY, {"observedGeneration": 1}, {"replicas": 2}],
    ids=["no pod is ready", "the controller has not looked yet", "old pods are left"],
)
def test_a_deployment_that_has_not_come_to_what_it_says_is_starting(
    workflows: list[Workflow], unready: dict[str, int]
) -> None:
    assert status(workflows, UNPAUSED, objects(workflows[0], rest=unready)).state == "STARTING"


def test_a_deployment_that_is_being_deleted_does_not_count(workflows: list[Workflow]) -> None:
    there = objects(workflows[0])
    there.deployments[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert status(workflows, UNPAUSED, there).state == "STARTING"


@pytest.mark.parametrize(
    ("state", "restarts", "expected"),
    [
        ({"waiting": {"reason": "ImagePullBackOff"}}, 0, "ERROR"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, 3, "ERROR"),
        (RUNNING, 1, "ERROR"),
        (RUNNING, 0, "STARTING"),
    ],
    ids=["no image", "a crash loop", "started again and not ready", "runs for the first time"],
)
def test_a_cause_is_an_error_unless_the_pod_may_yet_become_ready(
    workflows: list[Workflow], state: dict[str, Any], restarts: int, expected: str
) -> None:
    serve = workflows[0]
    where = {("default", str(serve.processes[0].live and serve.processes[0].live.deployment)): "because"}
    pods = [pod(serve, "rest", RUNNING, made="0"), pod(serve, "rest", state, restarts=restarts)]
    found = status(workflows, UNPAUSED, objects(serve, rest=UNREADY, pods=pods, causes=where))
    assert (found.state, found.cause) == (expected, "serve: rest: because")


def test_a_pod_that_no_node_takes_may_be_taken_yet(workflows: list[Workflow]) -> None:
    serve = workflows[0]
    waits = pod(serve, "rest", {})
    waits["status"] = {"conditions": [{"type": "PodScheduled", "status": "False"}]}
    where = {("default", str(serve.processes[0].live and serve.processes[0].live.deployment)): "no node"}
    found = status(workflows, UNPAUSED, objects(serve, rest=UNREADY, pods=[waits], causes=where))
    assert (found.state, found.cause) == ("STARTING", "serve: rest: no node")


def test_pods_that_cannot_be_made_are_an_error(workflows: list[Workflow]) -> None:
    serve = workflows[0]
    where = {("default", str(serve.processes[0].live and serve.processes[0].live.deployment)): "a quota"}
    assert status(workflows, UNPAUSED, objects(serve, rest=UNREADY, causes=where)).state == "ERROR"


def name_of(serve: Workflow) -> str:
    return str(serve.processes[0].live and serve.processes[0].live.deployment)


@pytest.mark.parametrize("everywhere", [True, False])
def test_what_keeps_a_bridge_from_making_a_deployment_is_an_error(workflows: list[Workflow], everywhere: bool) -> None:
    where = "default" if everywhere else f"default/{name_of(workflows[0])}"
    found = status(workflows, UNPAUSED, Objects("default", troubles={where: "a quota"}))
    assert (found.state, found.cause) == ("ERROR", "serve: rest: a quota")
    elsewhere = Objects("default", troubles={f"other/{name_of(workflows[0])}": "a quota"})
    assert status(workflows, UNPAUSED, elsewhere).state == "STARTING"


def test_what_keeps_a_bridge_from_correcting_what_runs_is_told(workflows: list[Workflow]) -> None:
    serve = workflows[0]
    there = replace(objects(serve), troubles={f"default/{serve.processes[1].live.deployment}": "a quota"})  # type: ignore[union-attr]
    found = status(workflows, UNPAUSED, there)
    assert (found.state, found.cause) == ("STARTED", "serve: exit: a quota")


def test_what_is_left_of_a_paused_one_is_stopping(workflows: list[Workflow]) -> None:
    serve = workflows[0]
    assert status(workflows, PAUSED, objects(serve), "shop.serve").state == "STOPPING"
    left = Objects("default", pods=[pod(serve, "exit", RUNNING)])
    found = status(workflows, PAUSED, left, "shop.serve")
    assert (found.state, found.cause) == ("STOPPING", "serve: exit: 1 pod(s) still there")
    assert status(workflows, PAUSED, NOTHING, "shop.serve").state == "STOPPED"


def test_pods_of_another_version_or_namespace_are_not_its_own(workflows: list[Workflow]) -> None:
    serve = workflows[0]
    other, elsewhere = pod(serve, "exit", RUNNING), pod(serve, "exit", RUNNING)
    other["metadata"]["labels"]["version"] = "v2.0.0"
    elsewhere["metadata"]["namespace"] = "other"
    left = Objects("default", pods=[other, elsewhere])
    assert status(workflows, PAUSED, left, "shop.serve").state == "STOPPED"


def test_a_broken_file_is_an_error_as_long_as_its_dag_is_unpaused(workflows: list[Workflow]) -> None:
    found = status(workflows, BROKEN, objects(workflows[0]))
    assert found.state == "ERROR"
    assert "its KRT file has errors" in found.cause
    assert status(workflows, replace(BROKEN, paused=True), NOTHING, "shop.serve").state == "STOPPED"


def test_those_that_run_decide_and_those_that_do_not_are_named(workflows: list[Workflow]) -> None:
    serve, daily = workflows
    facts = Facts({str(serve.dag_id): UNPAUSED, daily.dag_id: PAUSED}, (), objects(serve))
    found = product_status(workflows, facts)
    assert (found.state, found.cause) == ("STARTED", "paused: daily")


def test_what_cannot_be_told_has_no_state_and_hides_nothing_else(workflows: list[Workflow]) -> None:
    found = status(workflows, UNPAUSED, None)
    assert found.state is None
    assert [one.state for one in found.workflows] == [None, "STARTED"]


def published(workflows: list[Workflow], version: str) -> dict[str, Any]:
    made = ingress([replace(one, version=version) for one in workflows], site_label("http://a"), Publishing("kai.test"))
    assert made is not None
    made["metadata"]["namespace"] = "default"
    return made


def test_published_is_what_the_ingress_says(workflows: list[Workflow]) -> None:
    there = objects(workflows[0], ingresses=[published(workflows, "v1.0.0")])
    found = status(workflows, UNPAUSED, there)
    assert found.state == "PUBLISHED"
    assert [(one.process, one.url) for one in found.published] == [("rest", "http://shop.kai.test/serve-rest")]
    starting = replace(there, deployments=[deployment(workflows[0], "rest", **UNREADY), there.deployments[1]])
    assert status(workflows, UNPAUSED, starting).state == "STARTING"
    assert status(workflows, UNPAUSED, starting).published


def test_another_versions_ingress_publishes_nothing_of_this_one(workflows: list[Workflow]) -> None:
    found = status(workflows, UNPAUSED, objects(workflows[0], ingresses=[published(workflows, "v2.0.0")]))
    assert (found.state, found.published) == ("STARTED", ())


def test_versions_are_in_the_order_of_their_numbers(workflows: list[Workflow]) -> None:
    several = [replace(one, version=version) for version in ("v10.0.0", "v9.0.0") for one in workflows]
    assert list(by_product(several)) == [("shop", "v9.0.0"), ("shop", "v10.0.0")]
