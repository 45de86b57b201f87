"""Which containers of long-lived processes have ended, with whatever they had in hand. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from kai_airflow.kube import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from kai_airflow.kube.objects import Manifest

LOST = 60.0  # seconds after its time to end from which on a pod that is still there counts as lost with its node
SLACK = timedelta(seconds=5)  # by which the clocks of the cluster may differ from that of a bridge


class Labels(NamedTuple):
    """KAI's labels of a process."""

    product: str
    version: str
    workflow: str
    process: str
    type: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Labels:
        """Those of an object, empty where it has none."""
        own = found["metadata"].get("labels") or {}
        return cls(*(own.get(name, "") for name in cls._fields))


def has_ended(before: Manifest | None, now: Manifest | None) -> bool:
    """Whether a container of a pod ended between two looks at it; None where the pod isn't there."""
    if before is None:
        return False
    return _ends(before) < (_ends(before) + is_running(before) if now is None else _ends(now))


def is_told_to_end(before: Manifest | None, now: Manifest | None) -> bool:
    """Whether a pod has been told to end since the last look at it."""
    told = [bool(one and one["metadata"].get("deletionTimestamp")) for one in (before, now)]
    return told == [False, True]


def patience(pod: Mapping[str, Any]) -> float:
    """Seconds that a pod which has just been told to end may take for it. No clocks are compared."""
    return float(pod["metadata"].get("deletionGracePeriodSeconds") or 0) + LOST


def is_running(pod: Mapping[str, Any]) -> bool:
    """Whether the process in a pod runs."""
    return "running" in (_status(pod).get("state") or {})


def may_have_ended(pods: Iterable[Manifest], labels: Labels, unseen: datetime | None) -> bool:
    """Whether a container of a process may have ended while nobody looked, which was from ``unseen`` on."""
    own = [pod for pod in pods if Labels.of(pod) == labels and is_running(pod)]
    if not own:
        return True
    return unseen is not None and any(_began(pod) >= unseen - SLACK for pod in own)


def _ends(pod: Mapping[str, Any]) -> int:
    status = _status(pod)
    state = status.get("state") or {}
    stands_still = "terminated" in state or ("waiting" in state and bool(status.get("lastState")))
    return int(status.get("restartCount", 0)) + stands_still


def _began(pod: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(_status(pod)["state"]["running"]["startedAt"])


def _status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    every = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one for one in every if one["name"] == CONTAINER), {})
