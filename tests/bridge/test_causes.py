"""Why a process isn't ready: statuses as a kubelet, a scheduler and the controllers of a real cluster write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.cluster.client import EVENTS, PODS
from kai_airflow.bridge.live import causes
from kai_airflow.bridge.live.causes import cause
from kai_airflow.bridge.site import AirflowSite, Site
from kai_airflow.messaging.address import NatsAddress
from tests.bridge.clusters import NAMESPACE, there, until
from tests.streaming import process_of, streaming

if TYPE_CHECKING:
    from kai_airflow.bridge.cluster.client import Kubernetes

WAITING: dict[str, Any] = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "replicas": 1}}
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
WELL: dict[str, Any] = {"metadata": {"generation": 1}, "status": READY}
P = {"name": "p"}
JUST_NOW = "2999-01-01T00:00:00Z"  # by a clock that is ahead, however late the test is
CRASHED = {"terminated": {"exitCode": 3, "reason": "Error"}}


def pod(state: dict[str, Any] | None = None, *, born: str = "2026-01-01T00:00:00Z", **status: Any) -> dict[str, Any]:
    own = {"name": "process", "restartCount": 0, "ready": False, "state": state, "lastState": {}, **status}
    return {
        "metadata": {"name": "p", "namespace": "kai", "creationTimestamp": born},
        "spec": {"containers": [{"name": "process", "ports": [{"containerPort": 9000}]}, {"name": "sidecar"}]},
        "status": {"containerStatuses": [own] if state is not None else []},
    }


def waits(reason: str, message: str = "", **status: Any) -> dict[str, Any]:
    return pod({"waiting": {"reason": reason, **({"message": message} if message else {})}}, **status)


def unschedulable(lacking: str = "cpu") -> dict[str, Any]:
    made = pod()
    made["metadata"]["labels"] = {"product": "shop"}
    made["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": f"0/1 nodes are available: 1 Insufficient {lacking}.",
        }
    ]
    return made


def held_up() -> dict[str, Any]:
    made = waits("PodInitializing")
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    init = {"name": "warm", "ready": False, "restartCount": 2, "state": state, "lastState": CRASHED}
    made["status"]["initContainerStatuses"] = [init]
    return made


PULL = 'Back-off pulling image "registry/x:v1": ErrImagePull: not found'


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (waits("ImagePullBackOff", PULL), f"its image can't be had: {PULL}"),
        (waits("InvalidImageName"), "its image can't be had: InvalidImageName"),
        (unschedulable("cpu"), "no node takes it: 0/1 nodes are available: 1 Insufficient cpu."),
        (
            unschedulable("nvidia.com/gpu"),
            "no node takes it: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu. Remedy: where older pods of the "
            "product hold the GPU, and no other is to come, end them first: kai-airflow stop shop, then kai-airflow "
            "start shop",
        ),
        (
            waits("CreateContainerConfigError", 'secret "db" not found'),
            'CreateContainerConfigError: secret "db" not found. '
            "Remedy: make it in namespace kai, or take it out of the KRT's secrets",
        ),
        (
            waits("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            "CreateContainerConfigError: container has runAsNonRoot and image will run as root",
        ),
        (
            pod({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no program x"}}, restartCount=1),
            "its program can't be started: no program x; started again 1 time",
        ),
        (
            waits("CrashLoopBackOff", "back-off 5m0s", restartCount=4, lastState=CRASHED),
            "its process ended with exit code 3; started again 4 times",
        ),
        (pod(CRASHED), "its process ended with exit code 3"),
        (
            pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, restartCount=1),
            "its process ended with exit code 137, OOMKilled; started again 1 time",
        ),
        # Runs again just now; it crashed a moment ago.
        (
            pod({"running": {}}, restartCount=1, lastState=CRASHED),
            "its process ended with exit code 3; started again 1 time",
        ),
        (
            pod({"running": {}}),
            "it runs, but doesn't listen on port 9000 (networking.targetPort). Remedy: have it listen there on all "
            "addresses; with `kai-airflow up`, on the port that KAI_AIRFLOW_PORT_9000 says",
        ),
        (held_up(), "its process ended with exit code 3; started again 2 times"),
        (waits("ContainerCreating"), ""),
        (pod(), ""),
        (pod({"running": {}}, ready=True), ""),
        (pod({"running": {"startedAt": "2026-01-01T00:00:00Z"}}, ready=True, restartCount=3, lastState=CRASHED), ""),
        (
            pod({"running": {"startedAt": JUST_NOW}}, ready=True, restartCount=3, lastState=CRASHED),
            "its process ended with exit code 3; started again 3 times",
        ),
    ],
)
def test_a_pod_tells_why(found: dict[str, Any], told: str) -> None:
    assert cause(WAITING, [found]) == told


def test_a_quota_or_policy_that_refuses_pods_is_told() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: small'}
    deployment = {**WAITING, "status": {**WAITING["status"], "conditions": [refused]}}
    assert cause(deployment, []) == 'its pods can\'t be made: pods "x" is forbidden: exceeded quota: small'


def test_where_all_is_well_or_nothing_is_there_nothing_is_told() -> None:
    runs = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    assert cause(WELL, []) == ""
    assert cause(WELL, [pod(runs, ready=True), waits("ImagePullBackOff", PULL)]) == ""
    assert cause(WELL, [pod({"running": {"startedAt": JUST_NOW}}, ready=True)]) == ""
    assert cause(None, [pod(CRASHED)]) == ""
    assert cause(WAITING, []) == ""


def test_what_crashes_tells_why_while_it_runs_for_a_moment_though_its_deployment_is_ready() -> None:
    found = pod({"running": {"startedAt": JUST_NOW}}, ready=True, restartCount=2, lastState=CRASHED)
    assert cause(WELL, [found]) == "its process ended with exit code 3; started again 2 times"


def test_the_newest_pod_tells_and_one_that_is_leaving_doesnt() -> None:
    old, new = waits("ImagePullBackOff", PULL), pod(CRASHED, born="2026-01-02T00:00:00Z")
    assert cause(WAITING, [old, new]) == "its process ended with exit code 3"
    new["metadata"]["deletionTimestamp"] = "2026-01-03T00:00:00Z"
    assert cause(WAITING, [old, new]) == f"its image can't be had: {PULL}"


async def test_a_warning_tells_until_something_else_happens_to_the_pod(objects: Kubernetes) -> None:
    """On a cluster that adds a node, or whose first mount came too early, an image may be pulled for minutes since."""
    spec = {
        "containers": [{"name": "process", "image": "sh"}],
        "volumes": [{"name": "config", "secret": {"secretName": "nowhere"}}],
    }
    made = await objects.create(PODS, NAMESPACE, {"apiVersion": "v1", "kind": "Pod", "metadata": P, "spec": spec})

    async def told() -> str:
        return await causes.explained(objects, WAITING, [await there(objects, PODS, "p")], ())

    assert "nowhere" in await until(told)
    pulling = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "p.ffffffffffffffff"},
        "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": "p", "uid": made["metadata"]["uid"]},
        "type": "Normal",
        "reason": "Pulling",
        "lastTimestamp": JUST_NOW,
    }
    await objects.create(EVENTS, NAMESPACE, pulling)
    assert await told() == ""


def test_secrets_are_what_looks_so_in_all_that_a_process_is_given() -> None:
    workflow = streaming()
    config = {"github_secret": "hush-hush", "url": "redis://me:pa55word@host", "token": "abc", "lines": "plain"}
    env = [{"name": "DB_PASSWORD", "value": "db-secret"}, {"name": "TOKEN", "valueFrom": {}}]
    pod = {"spec": {"containers": [{"name": "process", "env": env}, {"name": "other"}]}}
    out = replace(process_of(workflow, "out"), config=config, pod=pod)
    workflow = replace(workflow, config={"api_key": "k3yk3y"}, processes=(out,))
    nats = NatsAddress("nats://one:4222", user="kai", password="n@ts", pods="nats://pod:p0ds@two:4222")
    site = Site((), nats, AirflowSite.of({}), services={"minio": {"client_password": "minio-secret", "ssl": True}})
    found = causes.secrets_of(workflow, site)  # nobody masks three letters
    seen = {"hush-hush", "pa55word", "k3yk3y", "db-secret", "minio-secret", "n@ts", "n%40ts", "p0ds"}
    assert found == seen
