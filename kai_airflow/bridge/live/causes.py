"""Why a long-lived process isn't what it should be, as its Deployment and its pods tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from kai_airflow.bridge.cluster.client import EVENTS, ClusterError
from kai_airflow.krt import MASK, is_sensitive, passwords, shown
from kai_airflow.kube import CONTAINER
from kai_airflow.kube.found import works
from kai_airflow.kube.objects import GPU
from kai_airflow.process.listening import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.bridge.site import Site
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Workflow

LINES, BYTES = 5, 4096  # of a log, at most
_LONGEST = 500  # characters of what a cluster says
_SHORTEST_SECRET = 4  # characters; a shorter one would take half of a text away
_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_MOMENT = timedelta(seconds=30)
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})


def cause(deployment: Mapping[str, Any] | None, pods: Sequence[Manifest]) -> str:
    """Why a process isn't ready; empty where it is, or where nothing is wrong as far as one can see.

    :param deployment: as the API gives it, None where there is none
    :param pods: the pods of that process
    """
    if deployment is None or works(deployment, pods):
        return ""
    told = _refused(deployment)
    for pod in _newest_first(pods):
        told = told or _of_pod(pod)
    return told


async def explained(
    kubernetes: Kubernetes, deployment: Mapping[str, Any] | None, pods: Sequence[Manifest], secrets: Iterable[str]
) -> str:
    """The same, with the last lines of a container that ended, or what the cluster says of a pod that doesn't start.

    A log that can't be read, since its node is lost for example, keeps nothing else from being told.

    :param secrets: what is masked in them, as :func:`secrets_of` gives it
    :raises ClusterError: Kubernetes refuses, or isn't there
    """
    told = cause(deployment, pods)
    for pod in _newest_first(pods):
        if told and _has_crashed(pod):
            told += await _last_lines(kubernetes, pod)
            break
        if deployment and not told and not works(deployment, pods) and _is_starting(pod):
            told = await _warned(kubernetes, pod)
    return _masked(told, secrets)


def secrets_of(workflow: Workflow, site: Site) -> frozenset[str]:
    """What texts about a workflow's processes mustn't show of all that they are given.

    Values of sensitive-looking keys and passwords in others, in the KRT's configuration, its pod templates, and the
    site's services; and how pods log in to NATS.
    """
    processes = workflow.processes
    configs = [workflow.version_config, workflow.config, *(process.config for process in processes)]
    configs += [environment for process in processes for environment in _environments(process.pod)]
    found = chain(site.nats.secrets(), *map(_secrets, [*configs, *site.services.values()]))
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def _refused(deployment: Mapping[str, Any]) -> str:
    """What keeps its pods from being made: a quota, a policy, a missing permission."""
    for one in (deployment.get("status") or {}).get("conditions") or ():
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            return f"its pods can't be made: {_said(one)}"
    return ""


def _of_pod(pod: Manifest) -> str:
    reason, message = _waits(pod)
    if unscheduled := _condition(pod, "PodScheduled"):
        return f"no node takes it: {_said(unscheduled)}{_gpu_remedy(pod, _said(unscheduled))}"
    if reason in _IMAGE:
        return f"its image can't be had: {message or reason}"
    if _has_crashed(pod):
        return _crashed(pod)
    if reason not in _STARTING:
        return (f"{reason}: {message}" if message else reason) + _remedy(pod, message)
    return _unready(pod)


def _remedy(pod: Manifest, message: str) -> str:
    if not message.startswith("secret ") or not message.endswith("not found"):
        return ""
    return f". Remedy: make it in namespace {pod['metadata']['namespace']}, or take it out of the KRT's secrets"


def _gpu_remedy(pod: Manifest, message: str) -> str:
    """A rollout keeps the old pods until the new ones are ready; these wait for the GPU that the old ones hold."""
    if f"Insufficient {GPU}" not in message:
        return ""
    product = (pod["metadata"].get("labels") or {}).get("product", "PRODUCT")
    return (
        " Remedy: where older pods of the product hold the GPU, and no other is to come, end them first: "
        f"kai-airflow stop {product}, then kai-airflow start {product}"
    )


def _crashed(pod: Manifest) -> str:
    status = _status(pod)
    ended = _terminated(status)
    count = int(status.get("restartCount", 0))
    again = f"; started again {count} time{'s' * (count != 1)}" if count else ""
    if ended.get("reason") in _NEVER_RAN:
        return f"its program can't be started: {_said(ended)}{again}"
    why = f", {ended['reason']}" if ended.get("reason") not in (None, "", "Error", "Completed") else ""
    return f"its process ended with exit code {ended.get('exitCode')}{why}{again}"


def _unready(pod: Manifest) -> str:
    """A process that runs, and isn't ready: nobody listens on the port that the KRT says."""
    status = _status(pod)
    if "running" not in (status.get("state") or {}) or status.get("ready", True):
        return ""
    ports = [str(port["containerPort"]) for one in pod["spec"]["containers"] for port in one.get("ports") or ()]
    if not ports:
        return ""
    return (
        f"it runs, but doesn't listen on port {', '.join(ports)} (networking.targetPort). Remedy: have it listen there "
        f"on all addresses; with `kai-airflow up`, on the port that {VARIABLE.format(ports[0])} says"
    )


def _has_crashed(pod: Manifest) -> bool:
    """Whether its process has ended, and doesn't run well since: what runs for a moment proves nothing."""
    status = _status(pod)
    if not _terminated(status):
        return False
    began = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    return not status.get("ready") or not began or datetime.now(UTC) - datetime.fromisoformat(began) < _MOMENT


def _is_starting(pod: Manifest) -> bool:
    """Whether its container was never there."""
    state = _status(pod).get("state") or {}
    return not _terminated(_status(pod)) and "running" not in state and _waits(pod)[0] in _STARTING


def _terminated(status: Mapping[str, Any]) -> dict[str, Any]:
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        if state.get("terminated"):
            return dict(state["terminated"])
    return {}


def _waits(pod: Manifest) -> tuple[str, str]:
    waiting = (_status(pod).get("state") or {}).get("waiting") or {}
    return waiting.get("reason") or "", str(waiting.get("message") or "")[:_LONGEST]


def _condition(pod: Manifest, name: str) -> Mapping[str, Any] | None:
    every = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in every if one["type"] == name and one["status"] == "False"), None)


def _status(pod: Manifest) -> Mapping[str, Any]:
    """That of its container; of one before it, which holds it up, where that waits."""
    status = pod.get("status") or {}
    for one in status.get("initContainerStatuses") or ():
        if not one.get("ready") and one.get("state"):
            return dict(one)
    own = (one for one in status.get("containerStatuses") or () if one["name"] == CONTAINER)
    return next(own, {})


def _newest_first(pods: Iterable[Manifest]) -> list[Manifest]:
    """Those that stay; after a change, the new ones are of interest."""
    staying = (pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))
    return sorted(staying, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)


def _said(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "")[:_LONGEST]


async def _last_lines(kubernetes: Kubernetes, pod: Manifest) -> str:
    meta, status = pod["metadata"], _status(pod)
    previous = not (status.get("state") or {}).get("terminated")
    place = (meta["namespace"], meta["name"], status["name"])
    try:
        text = await kubernetes.log(*place, previous=previous, lines=LINES, most=BYTES)
    except ClusterError as error:
        text = str(error)
    lines = [line for line in text.splitlines() if line.strip()][-LINES:]
    return "".join(f"\n  {line}" for line in lines)


async def _warned(kubernetes: Kubernetes, pod: Manifest) -> str:
    """What keeps a pod from starting that only events tell: a volume of a Secret that isn't there.

    A warning counts as long as nothing has happened to the pod since: a node has come, a mount that failed went well,
    and now its image is being pulled.
    """
    meta = pod["metadata"]
    found = (await kubernetes.list(EVENTS, meta["namespace"], fields=f"involvedObject.name={meta['name']}")).items
    # In a second, in the order of their names: those end with the moment.
    latest = sorted(found, key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])[-1:]
    warned = [str(event.get("message", ""))[:_LONGEST] for event in latest if event["type"] == "Warning"]
    return f"it can't start: {warned[0]}" if warned else ""


def _environments(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    spec = pod.get("spec", {})
    for one in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        yield {variable["name"]: variable.get("value") for variable in one.get("env", ())}


def _secrets(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, str):
            yield from filter(None, map(str.strip, value.splitlines())) if is_sensitive(key) else passwords(value)


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return "\n".join(map(shown, text.split("\n")))
