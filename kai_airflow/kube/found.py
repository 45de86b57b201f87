"""What objects of long-lived processes say, as the API gives them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kai_airflow.kube.live import DAG_ANNOTATION, MANAGED_BY, MANAGER, SITE_LABEL, STREAM_ANNOTATION
from kai_airflow.plan.names import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping


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
