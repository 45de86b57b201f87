"""Why a process isn't ready: statuses as a kubelet, a scheduler and the controllers of a real cluster write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kai_airflow.bridge import causes
from kai_airflow.bridge.causes import cause
from tests.streaming import process_of, streaming

WAITING: dict[str, Any] = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "replicas": 1}}
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


def unschedulable() -> dict[str, Any]:
    made = pod()
    made["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
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
        (unschedulable(), "no node takes it: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
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
    ready = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}}
    ready["status"]["availableReplicas"] = 1
    assert cause(ready, [waits("ImagePullBackOff", PULL)]) == ""
    assert cause(None, [pod(CRASHED)]) == ""
    assert cause(WAITING, []) == ""


def test_the_newest_pod_tells_and_one_that_is_leaving_doesnt() -> None:
    old, new = waits("ImagePullBackOff", PULL), pod(CRASHED, born="2026-01-02T00:00:00Z")
    assert cause(WAITING, [old, new]) == "its process ended with exit code 3"
    new["metadata"]["deletionTimestamp"] = "2026-01-03T00:00:00Z"
    assert cause(WAITING, [old, new]) == f"its image can't be had: {PULL}"


def test_secrets_of_a_workflow_are_those_that_look_so_and_passwords_in_others() -> None:
    workflow = streaming()
    config = {"github_secret": "hush-hush", "url": "redis://me:pa55word@host", "token": "abc", "lines": "plain"}
    workflow = replace(
        workflow, config={"api_key": "k3yk3y"}, processes=(replace(process_of(workflow, "out"), config=config),)
    )
    found = causes.secrets_of(workflow, {"client_password": "minio-secret", "ssl": True})
    assert found == {"hush-hush", "pa55word", "k3yk3y", "minio-secret"}  # nobody masks three letters
