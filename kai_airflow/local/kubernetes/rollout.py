"""How a Deployment gets from the pods that are there to those that it wants. Pure: objects in, the next step out.

There are no ReplicaSets: a Deployment owns its pods itself, and tells them apart by the hash of their template.
Source: Kubernetes' documentation of Deployments.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kai_airflow.local.kubernetes.engine import PORT_TAKEN
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import rfc3339

HASH = "pod-template-hash"
"""The label of the pods that holds the hash of their template."""

DEADLINE = 600
"""Seconds without progress after which a Deployment says so, where it doesn't say how many."""

_PROGRESS = ("updatedReplicas", "readyReplicas", "replicas")


@dataclass(frozen=True)
class Step:
    """What to do next: how many pods to make, and the names of those to delete."""

    create: int = 0
    delete: tuple[str, ...] = ()


def template_hash(spec: Object) -> str:
    """Ten characters that stand for the template."""
    text = json.dumps(spec["template"], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def step(spec: Object, pods: Sequence[Object]) -> Step:
    """The next step for a Deployment with these pods, those that are being deleted included."""
    living = [pod for pod in pods if not _ends(pod)]
    new = [pod for pod in living if is_updated(spec, pod)]
    old = [pod for pod in living if not is_updated(spec, pod)]
    if spec["strategy"]["type"] == "Recreate":
        return _recreated(spec, pods, new, old)
    return _rolled(spec, new, old)


def _recreated(spec: Object, pods: Sequence[Object], new: list[Object], old: list[Object]) -> Step:
    """Every old pod is gone, its end included, before a new one comes."""
    if any(not is_updated(spec, pod) for pod in pods):
        return Step(delete=_named(old))
    return _scaled(spec, new)


def _scaled(spec: Object, new: list[Object]) -> Step:
    surplus = len(new) - spec["replicas"]
    return Step(delete=_named(_expendable(new)[:surplus])) if surplus > 0 else Step(create=-surplus)


def _rolled(spec: Object, new: list[Object], old: list[Object]) -> Step:
    """Some more than wanted, some fewer ready than wanted, as the strategy allows; the unready old ones go at once."""
    if not old:
        return _scaled(spec, new)
    wanted, (surge, unavailable) = spec["replicas"], _shares(spec)
    if any(_waits_for_port(pod) for pod in new):  # an old pod may hold it: all share one network
        unavailable = max(1, unavailable)
    create = max(0, min(wanted - len(new), wanted + surge - len(new) - len(old)))
    spare = sum(is_ready(pod) for pod in (*new, *old)) - (wanted - unavailable)
    ready = [pod for pod in old if is_ready(pod)]
    unready = [pod for pod in old if not is_ready(pod)]
    surplus = _expendable(new)[: max(0, len(new) - wanted)]
    return Step(create, _named([*unready, *ready[: max(0, spare)], *surplus]))


def _shares(spec: Object) -> tuple[int, int]:
    """maxSurge, rounded up, and maxUnavailable, rounded down; one of them is at least 1."""
    rolling = spec["strategy"]["rollingUpdate"]
    surge = _share(rolling["maxSurge"], spec["replicas"], math.ceil)
    unavailable = _share(rolling["maxUnavailable"], spec["replicas"], math.floor)
    return surge, unavailable if surge or unavailable else 1


def _share(value: int | str, replicas: int, rounded: Callable[[float], int]) -> int:
    return value if isinstance(value, int) else rounded(int(value.removesuffix("%")) * replicas / 100)


def _expendable(pods: list[Object]) -> list[Object]:
    """Those that serve least first: not ready, then the youngest."""
    youngest = sorted(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"]), reverse=True)
    return sorted(sorted(youngest, key=_born, reverse=True), key=is_ready)


def _born(pod: Object) -> str:
    return str(pod["metadata"]["creationTimestamp"])


def _named(pods: Sequence[Object]) -> tuple[str, ...]:
    return tuple(pod["metadata"]["name"] for pod in pods)


def is_updated(spec: Object, pod: Object) -> bool:
    """Whether a pod is of the present template."""
    return bool(pod["metadata"].get("labels", {}).get(HASH) == template_hash(spec))


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and isn't being deleted."""
    found = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return found.get("Ready") == "True" and not _ends(pod)


def _ends(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _waits_for_port(pod: Object) -> bool:
    found = pod["status"].get("containerStatuses", ())
    return any(one["state"].get("waiting", {}).get("reason") == PORT_TAKEN for one in found)


def status(deployment: Object, pods: Sequence[Object], moment: datetime) -> Object:
    """The status of a Deployment with these pods; numbers that are 0 are left out, as in Kubernetes."""
    spec, old = deployment["spec"], deployment["status"]
    living = [pod for pod in pods if not _ends(pod)]
    ready = sum(is_ready(pod) for pod in living)
    numbers = {
        "replicas": len(living),
        "updatedReplicas": sum(is_updated(spec, pod) for pod in living),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, max(spec["replicas"], len(living)) - ready),
    }
    found = {name: number for name, number in numbers.items() if number}
    conditions = [_available(spec, ready, old, moment), _progressing(deployment, found, moment)]
    return {"observedGeneration": deployment["metadata"]["generation"], **found, "conditions": conditions}


def is_complete(spec: Object, found: Object) -> bool:
    """Whether a status tells that all pods are of the present template and ready, and no others are left."""
    wanted = spec["replicas"]
    return all(found.get(name, 0) == wanted for name in ("replicas", "updatedReplicas", "readyReplicas"))


def _available(spec: Object, ready: int, old: Object, moment: datetime) -> Object:
    wanted = spec["replicas"]
    unavailable = _shares(spec)[1] if spec["strategy"]["type"] == "RollingUpdate" else 0
    if ready >= wanted - (unavailable if wanted else 0):
        said = ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        said = ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return _condition(said, old, moment, renewed=False)


def _progressing(deployment: Object, found: Object, moment: datetime) -> Object:
    old, name = deployment["status"], deployment["metadata"]["name"]
    before = _before(old, "Progressing")
    moved = old.get("observedGeneration") != deployment["metadata"]["generation"] or any(
        found.get(number, 0) != old.get(number, 0) for number in _PROGRESS
    )
    if is_complete(deployment["spec"], found):
        said = ("Progressing", "True", "NewReplicaSetAvailable", f'Deployment "{name}" has successfully progressed.')
    elif not moved and before and _overdue(deployment["spec"], before, moment):
        said = ("Progressing", "False", "ProgressDeadlineExceeded", f'Deployment "{name}" has timed out progressing.')
    else:
        said = ("Progressing", "True", "ReplicaSetUpdated", f'Deployment "{name}" is progressing.')
    return _condition(said, old, moment, renewed=moved)


def _overdue(spec: Object, before: Object, moment: datetime) -> bool:
    since = datetime.fromisoformat(before["lastUpdateTime"])
    return moment - since > timedelta(seconds=spec.get("progressDeadlineSeconds", DEADLINE))


def _condition(said: tuple[str, str, str, str], old: Object, moment: datetime, *, renewed: bool) -> Object:
    kind, state, reason, message = said
    before, now = _before(old, kind), rfc3339(moment)
    same = before.get("status") == state
    updated = not same or before.get("reason") != reason or renewed
    return {
        "type": kind,
        "status": state,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now if updated else before["lastUpdateTime"],
        "lastTransitionTime": before["lastTransitionTime"] if same else now,
    }


def _before(old: Object, kind: str) -> Object:
    return next((one for one in old.get("conditions", ()) if one["type"] == kind), {})
