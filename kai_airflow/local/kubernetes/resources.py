"""The kinds that are served, and how what a client sends becomes what is kept."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.errors import Object, invalid
from kai_airflow.local.kubernetes.leases import Lease
from kai_airflow.local.kubernetes.metadata import Metadata, Model, parse
from kai_airflow.local.kubernetes.networking import Ingress, Service
from kai_airflow.local.kubernetes.pods import Pod
from kai_airflow.local.kubernetes.workloads import Autoscaler, Deployment

MAX_SECRET = 1 << 20
"""Bytes of a Secret's values in all, as in Kubernetes."""


def _decodable(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "must be base64") from None
    return value


def _no_folder(key: str) -> str:
    # A key becomes a file's name where the Secret is mounted.
    if key in (".", "..") or key.startswith(".."):
        raise PydanticCustomError("key", "must not be '.' or begin with '..'")
    return key


SecretKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253), AfterValidator(_no_folder)]


class Secret(Model):
    """A Secret as a client describes it."""

    metadata: Metadata
    type: str = "Opaque"
    data: dict[SecretKey, Annotated[str, AfterValidator(_decodable)]] = {}
    string_data: dict[SecretKey, str] = {}
    immutable: bool = False

    @model_validator(mode="after")
    def _small(self) -> "Secret":
        size = sum(len(value) * 3 // 4 for value in self.folded().values())
        if size > MAX_SECRET:
            raise PydanticCustomError("too_long", "values may have 1048576 bytes in all")
        return self

    def folded(self) -> dict[str, str]:
        """`data` with `stringData` folded in."""
        texts = {key: base64.b64encode(text.encode()).decode() for key, text in self.string_data.items()}
        return {**self.data, **texts}


class InvolvedObject(Model):
    """What an Event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class Event(Model):
    """An Event as a client describes it."""

    metadata: Metadata
    involved_object: InvolvedObject
    reason: str = ""
    type: str = ""
    message: str = ""


def _pod(new: Object, old: Object | None) -> Object:
    """A pod to keep: its spec with defaults, its status the server's own."""
    pod = parse(Pod, new, "Pod")
    grace = {"terminationGracePeriodSeconds": pod.spec.termination_grace_period_seconds}
    node = {"nodeName": "local"}
    kept = {**new, "spec": {**new["spec"], **grace, **node}}
    status = {"phase": "Pending", "qosClass": "BestEffort"} if old is None else old["status"]
    if old is not None and kept["spec"] != old["spec"]:
        why = "pod updates may not change the spec; delete the pod and create another"
        raise invalid("Pod", pod.metadata.name, [("spec", why)])
    return {**kept, "status": status}


def _secret(new: Object, old: Object | None) -> Object:
    """A Secret to keep: stringData folded into data."""
    secret = parse(Secret, new, "Secret")
    kept = {**new, "type": secret.type, "data": secret.folded()}
    kept.pop("stringData", None)
    if old is not None and kept["type"] != old["type"]:
        raise invalid("Secret", secret.metadata.name, [("type", "field is immutable")])
    if old is not None and old.get("immutable") and kept["data"] != old["data"]:
        raise invalid("Secret", secret.metadata.name, [("data", "the Secret is immutable")])
    return kept


def _event(new: Object, _old: Object | None) -> Object:
    parse(Event, new, "Event")
    return new


def _deployment(new: Object, old: Object | None) -> Object:
    """A Deployment to keep: its spec with defaults, its status the server's own."""
    deployment = parse(Deployment, new, "Deployment")
    kept = {**new, "spec": {**new["spec"], **deployment.spec.completed()}}
    if old is not None and kept["spec"]["selector"] != old["spec"]["selector"]:
        raise invalid("Deployment", deployment.metadata.name, [("spec.selector", "field is immutable")])
    return _with_status(kept, old)


def _autoscaler(new: Object, old: Object | None) -> Object:
    autoscaler = parse(Autoscaler, new, "HorizontalPodAutoscaler")
    kept = {**new["spec"], "minReplicas": autoscaler.spec.min_replicas}
    return _with_status({**new, "spec": kept}, old or {"status": {"desiredReplicas": 0}})


def _service(new: Object, old: Object | None) -> Object:
    service = parse(Service, new, "Service")
    kept = {"type": service.spec.type, **new.get("spec", {})}
    return _with_status({**new, "spec": kept}, old or {"status": {"loadBalancer": {}}})


def _ingress(new: Object, old: Object | None) -> Object:
    parse(Ingress, new, "Ingress")
    return _with_status(new, old or {"status": {"loadBalancer": {}}})


def _lease(new: Object, old: Object | None) -> Object:
    """A Lease to keep. Who replaces one must say which state of it: no holder overwrites another unseen."""
    lease = parse(Lease, new, "Lease")
    if old is not None and not new["metadata"].get("resourceVersion"):
        cause = ("metadata.resourceVersion", "must be specified for an update")
        raise invalid("Lease", lease.metadata.name, [cause])
    return new


def _with_status(new: Object, old: Object | None) -> Object:
    return {**new, "status": old["status"] if old is not None else {}}


@dataclass(frozen=True)
class Resource:
    """A kind: its names, the fields that select it, and `prepare(new, old or None)`, which checks and completes."""

    kind: str
    plural: str
    prepare: Callable[[Object, Object | None], Object]
    fields: frozenset[str]
    api_version: str = "v1"
    generation: dict[str, Any] = field(default_factory=dict)
    """What new objects bear in their metadata: kinds that count the changes of their spec begin with 1."""


_NAMES = frozenset({"metadata.name", "metadata.namespace"})
_INVOLVED = frozenset(f"involvedObject.{name}" for name in ("kind", "namespace", "name"))
_FIRST = {"generation": 1}

PODS = Resource("Pod", "pods", _pod, _NAMES | {"status.phase", "spec.nodeName"}, generation=_FIRST)
SECRETS = Resource("Secret", "secrets", _secret, _NAMES | {"type"})
EVENTS = Resource("Event", "events", _event, _NAMES | _INVOLVED | {"involvedObject.uid", "reason", "type"})
SERVICES = Resource("Service", "services", _service, _NAMES)
DEPLOYMENTS = Resource("Deployment", "deployments", _deployment, _NAMES, "apps/v1", _FIRST)
INGRESSES = Resource("Ingress", "ingresses", _ingress, _NAMES, "networking.k8s.io/v1", _FIRST)
LEASES = Resource("Lease", "leases", _lease, _NAMES, "coordination.k8s.io/v1")
AUTOSCALERS = Resource("HorizontalPodAutoscaler", "horizontalpodautoscalers", _autoscaler, _NAMES, "autoscaling/v2")
RESOURCES = {
    resource.plural: resource
    for resource in (PODS, SECRETS, EVENTS, SERVICES, DEPLOYMENTS, INGRESSES, LEASES, AUTOSCALERS)
}
