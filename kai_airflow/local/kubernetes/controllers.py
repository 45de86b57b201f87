"""A cluster's controllers, for Deployments, autoscalers and Ingresses: they follow the store, and write to it."""

import asyncio
import contextlib
from datetime import UTC, datetime

from kai_airflow.local.kubernetes import metadata, rollout
from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.errors import ApiError, Object
from kai_airflow.local.kubernetes.query import DeleteOptions
from kai_airflow.local.kubernetes.resources import AUTOSCALERS, DEPLOYMENTS, INGRESSES, PODS
from kai_airflow.local.kubernetes.store import Change, Key

SCALER = "horizontal-pod-autoscaler"
"""The manager of the replicas that an autoscaler sets."""

LOOK_AGAIN = 5.0
"""Seconds between two looks at rollouts that may have come to a halt."""

_ABLE = ("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
_UNABLE = ("AbleToScale", "False", "FailedGetScale", "the target doesn't exist")
_BLIND = (
    "ScalingActive",
    "False",
    "FailedGetResourceMetric",
    "failed to get resource utilization: there is no metrics server in the local Kubernetes API",
)
_OFF = (
    "ScalingActive",
    "False",
    "ScalingDisabled",
    "scaling is disabled: the target wants no replicas",
)


async def control(api: Api, ingress_port: int) -> None:
    """Answer each change. Runs until the store closes."""
    async for change in api.store.changes(api.store.version):
        _answer(api, change, ingress_port)
        await asyncio.sleep(0)  # who follows the store must not fall behind its history


async def look_again(api: Api) -> None:
    """Notice rollouts that don't get on: no change tells of them. Runs until cancelled."""
    while True:
        await asyncio.sleep(LOOK_AGAIN)
        for deployment in api.store.select(DEPLOYMENTS.plural):
            if not rollout.is_complete(deployment["spec"], deployment["status"]):
                _roll(api, _key(deployment, DEPLOYMENTS.plural))
                await asyncio.sleep(0)


def _answer(api: Api, change: Change, ingress_port: int) -> None:
    kind = change.key.kind
    if kind == DEPLOYMENTS.plural:
        _roll(api, change.key)
        for scaler in api.store.select(AUTOSCALERS.plural, change.key.namespace):
            if scaler["spec"]["scaleTargetRef"]["name"] == change.key.name:
                _scale(api, _key(scaler, AUTOSCALERS.plural))
    elif kind == PODS.plural:
        for owner in (change.new or change.old or {})["metadata"].get("ownerReferences", ()):
            if owner["kind"] == DEPLOYMENTS.kind:
                _roll(api, Key(DEPLOYMENTS.plural, change.key.namespace, owner["name"]))
    elif kind == AUTOSCALERS.plural:
        _scale(api, change.key)
    elif kind == INGRESSES.plural:
        _address(api, change.key, ingress_port)


def _key(obj: Object, plural: str) -> Key:
    return Key(plural, obj["metadata"]["namespace"], obj["metadata"]["name"])


def _roll(api: Api, key: Key) -> None:
    """Take a Deployment's next step, and tell how it stands."""
    deployment = api.store.get(key)
    if deployment is None:
        return
    step = rollout.step(deployment["spec"], _pods(api, deployment))
    for name in step.delete:
        with contextlib.suppress(ApiError):  # gone meanwhile
            api.delete(PODS, key.namespace, name, DeleteOptions())
    for _ in range(step.create):
        api.create(PODS, key.namespace, _pod(deployment))
    status = rollout.status(deployment, _pods(api, deployment), datetime.now(UTC))
    api.store.put(key, {**deployment, "status": status})


def _pods(api: Api, deployment: Object) -> list[Object]:
    uid = deployment["metadata"]["uid"]
    found = api.store.select(PODS.plural, deployment["metadata"]["namespace"])
    return [pod for pod in found if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))]


def _pod(deployment: Object) -> Object:
    """A pod of the present template."""
    spec, about = deployment["spec"], deployment["metadata"]
    template, number = spec["template"], rollout.template_hash(spec)
    own = template.get("metadata", {})
    owner = {"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.kind, "name": about["name"]}
    return {
        "metadata": {
            "generateName": f"{about['name'][: metadata.MAX_PREFIX - len(number) - 2]}-{number}-",
            "labels": {**own.get("labels", {}), rollout.HASH: number},
            "annotations": own.get("annotations", {}),
            "ownerReferences": [{**owner, "uid": about["uid"], "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }


def _scale(api: Api, key: Key) -> None:
    """Hold a Deployment between an autoscaler's bounds. Nothing measures, so it does no more."""
    scaler = api.store.get(key)
    if scaler is None:
        return
    spec = scaler["spec"]
    target = api.store.get(Key(DEPLOYMENTS.plural, key.namespace, spec["scaleTargetRef"]["name"]))
    if target is None:
        _tell(api, key, scaler, {"currentReplicas": 0, "desiredReplicas": 0}, [_UNABLE])
        return
    replicas = target["spec"]["replicas"]
    wanted = replicas and min(max(replicas, spec["minReplicas"]), spec["maxReplicas"])  # 0 stays: it is off
    numbers = {"currentReplicas": target["status"].get("replicas", 0), "desiredReplicas": wanted}
    _tell(api, key, scaler, numbers, [_ABLE, _BLIND if replicas else _OFF])
    if wanted != replicas:
        change = {**target, "spec": {**target["spec"], "replicas": wanted}}
        api.replace(DEPLOYMENTS, key.namespace, target["metadata"]["name"], change, SCALER)


def _tell(api: Api, key: Key, scaler: Object, numbers: Object, said: list[tuple[str, str, str, str]]) -> None:
    before = {(one["type"], one["status"]): one for one in scaler["status"].get("conditions", ())}
    now = {"lastTransitionTime": metadata.rfc3339()}
    conditions = [
        {
            "type": kind,
            "status": state,
            "lastTransitionTime": before.get((kind, state), now)["lastTransitionTime"],
            "reason": reason,
            "message": message,
        }
        for kind, state, reason, message in said
    ]
    api.store.put(key, {**scaler, "status": {**numbers, "conditions": conditions}})


def _address(api: Api, key: Key, port: int) -> None:
    """Tell at which address an Ingress is served."""
    ingress = api.store.get(key)
    if ingress is not None:
        address = {"hostname": "localhost", "ports": [{"port": port, "protocol": "TCP"}]}
        api.store.put(key, {**ingress, "status": {"loadBalancer": {"ingress": [address]}}})
