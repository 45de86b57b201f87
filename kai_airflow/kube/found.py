"""What objects of long-lived processes say, as the API gives them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kai_airflow.kube.live import DAG_ANNOTATION, MANAGED_BY, MANAGER, SITE_LABEL, STREAM_ANNOTATION
from kai_airflow.kube.objects import CONTAINER
from kai_airflow.plan.names import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOMENT = timedelta(seconds=3)  # for which a container has run that isn't taken for one that ends at once
_MOMENT_AGAIN = timedelta(seconds=10)  # the same where it has ended before


def is_of(found: Mapping[str, Any], site: str) -> bool:
    """Whether an object, as the API gives it, is a site's own."""
    own = found["metadata"].get("labels") or {}
    return own.get(MANAGED_BY) == MANAGER and own.get(SITE_LABEL) == site


def dag_of(found: Mapping[str, Any]) -> str:
    """The DAG that an object belongs to, empty where it doesn't say so."""
    return str((found["metadata"].get("annotations") or {}).get(DAG_ANNOTATION, ""))


def stream_of(found: Mapping[str, Any]) -> Stream:
    """The live stream that an object belongs to, empty where it doesn't say so."""
    return Stream((found["metadata"].get("annotations") or {}).get(STREAM_ANNOTATION, ""))


def is_ready(found: Mapping[str, Any] | None) -> bool:
    """Whether a Deployment, as the API gives it, has come to what it says: no old pod is left, and a new one works."""
    if found is None or found["metadata"].get("deletionTimestamp"):
        return False
    status = found.get("status") or {}
    seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
    count, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    return bool(seen and count == updated and status.get("availableReplicas", 0) > 0)


def works(found: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a Deployment is ready, and not for a moment: a process that crashes is ready whenever it runs.

    :param pods: its own
    """
    return is_ready(found) and (not pods or any(map(_runs_on, pods)))


def _runs_on(pod: Mapping[str, Any]) -> bool:
    """Whether it stays, and what runs in it has run for a while."""
    every = (pod.get("status") or {}).get("containerStatuses") or ()
    own: Mapping[str, Any] = next((one for one in every if one["name"] == CONTAINER), {})
    began = ((own.get("state") or {}).get("running") or {}).get("startedAt")
    if not began or pod["metadata"].get("deletionTimestamp"):
        return False
    moment = _MOMENT_AGAIN if own.get("restartCount") else _MOMENT
    return datetime.now(UTC) - datetime.fromisoformat(began) >= moment
