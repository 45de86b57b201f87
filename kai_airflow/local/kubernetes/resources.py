"""The kinds that are served, and how what a client sends becomes what is kept."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.errors import Object, invalid
from kai_airflow.local.kubernetes.metadata import Metadata, Model, parse
from kai_airflow.local.kubernetes.pods import Pod

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


@dataclass(frozen=True)
class Resource:
    """A kind: its names, the fields that select it, and `prepare(new, old or None)`, which checks and completes."""

    kind: str
    plural: str
    prepare: Callable[[Object, Object | None], Object]
    fields: frozenset[str] = field(default=frozenset())
    generation: dict[str, Any] = field(default_factory=dict)


_NAMES = frozenset({"metadata.name", "metadata.namespace"})
_INVOLVED = frozenset(f"involvedObject.{name}" for name in ("kind", "namespace", "name"))

PODS = Resource("Pod", "pods", _pod, _NAMES | {"status.phase", "spec.nodeName"}, {"generation": 1})
SECRETS = Resource("Secret", "secrets", _secret, _NAMES | {"type"})
EVENTS = Resource("Event", "events", _event, _NAMES | _INVOLVED | {"involvedObject.uid", "reason", "type"})
RESOURCES = {resource.plural: resource for resource in (PODS, SECRETS, EVENTS)}
