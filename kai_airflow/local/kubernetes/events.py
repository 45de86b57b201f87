"""Events about pods, as a scheduler and a kubelet record them."""

import time

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import born, rfc3339
from kai_airflow.local.kubernetes.resources import EVENTS, PODS
from kai_airflow.local.kubernetes.store import Key, Store

NORMAL, WARNING = "Normal", "Warning"


def record(store: Store, pod: Object, kind: str, reason: str, message: str, field: str = "") -> None:
    """Keep an Event about a pod, or about the container that `field` names (`spec.containers{base}`)."""
    about = pod["metadata"]
    name = f"{about['name'][:230]}.{time.time_ns():016x}"  # as client-go names them: a list is in their order
    component = "default-scheduler" if reason == "Scheduled" else "kubelet"
    now = rfc3339()
    involved = {name: about[name] for name in ("namespace", "name", "uid", "resourceVersion")}
    event = {
        "kind": EVENTS.kind,
        "apiVersion": "v1",
        "metadata": born({"name": name, "namespace": about["namespace"]}, {}),
        "involvedObject": {
            "kind": PODS.kind,
            "apiVersion": "v1",
            **involved,
            **({"fieldPath": field} if field else {}),
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component, "host": "local"},
        "reportingComponent": component,
        "reportingInstance": "local",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    store.put(Key(EVENTS.plural, about["namespace"], name), event)
