"""The rules for object metadata, and the base of every model here. Source of the rules: Kubernetes' API conventions."""

import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.errors import ApiError, Object, invalid, not_implemented

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = rf"^({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-\w.]{{0,61}}[A-Za-z0-9])?$"

DnsLabel = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}$", max_length=63)]
Subdomain = Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
QualifiedName = Annotated[str, StringConstraints(pattern=_QUALIFIED.replace(r"\w", "_A-Za-z0-9"), max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$", max_length=63)]
Seconds = Annotated[int, Field(ge=0, le=2**31 - 1)]
Port = Annotated[int, Field(ge=1, le=65535)]

MAX_ANNOTATIONS = 256 << 10
"""Bytes of all annotations of an object, as in Kubernetes."""

MAX_PREFIX = 58
"""Characters of a generateName that are used, as in Kubernetes."""

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for generated names: no words, no look-alikes
_WRITABLE = ("name", "generateName", "namespace", "labels", "annotations", "ownerReferences")

AnyModel = TypeVar("AnyModel", bound="Model")


class Model(BaseModel):
    """A part of an object. Fields that it doesn't name are kept and not looked at, unless they are `missing`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", alias_generator=to_camel)
    missing: ClassVar[frozenset[str]] = frozenset()
    """Fields that change what happens, and that this API doesn't implement: refused, where they say anything."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        for name in sorted(cls.missing & data.keys()) if isinstance(data, dict) else ():
            if data[name]:
                raise PydanticCustomError("not_implemented", "the field {name}", {"name": name})
        return data


class Owner(Model):
    """An owner reference."""

    api_version: str
    kind: str
    name: str
    uid: Annotated[str, Field(min_length=1)]


class Metadata(Model):
    """What a client may say in `metadata`."""

    missing = frozenset({"finalizers"})

    name: Subdomain
    namespace: DnsLabel
    labels: dict[QualifiedName, LabelValue] = {}
    annotations: dict[QualifiedName, str] = {}
    owner_references: list[Owner] = []

    @model_validator(mode="after")
    def _small(self) -> "Metadata":
        size = sum(len(name) + len(text.encode()) for name, text in self.annotations.items())
        if size > MAX_ANNOTATIONS:
            raise PydanticCustomError("too_long", "annotations may have 262144 bytes in all")
        return self


def parse(model: type[AnyModel], obj: Object, kind: str) -> AnyModel:
    """The object as a model. Raises ApiError 422 with every cause, or 501."""
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        raise _refusal(error, obj, kind) from error


def _refusal(error: ValidationError, obj: Object, kind: str) -> ApiError:
    # Messages only, never inputs: an input may be a secret.
    errors = [(path(item["loc"]), item["type"], item["msg"]) for item in error.errors(include_input=False)]
    for place, code, message in errors:
        if code == "not_implemented":
            return not_implemented(f"{message} (in {place or 'the object'})")
    metadata = obj.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return invalid(kind, str(name), [(place, message) for place, _, message in errors])


def path(places: tuple[int | str, ...]) -> str:
    """('spec', 'containers', 0) -> 'spec.containers[0]'."""
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places).lstrip(".")


def generated(prefix: str) -> str:
    """A name for a generateName: five letters that nothing is known to bear."""
    return prefix[:MAX_PREFIX] + "".join(secrets.choice(_SUFFIX) for _ in range(5))


def born(metadata: Object, generation: Mapping[str, int]) -> Object:
    """The metadata of a new object: what its client may say, and what only the server says."""
    own = {"uid": str(uuid.uuid4()), "creationTimestamp": rfc3339(), **generation}
    return {**_chosen(metadata, _WRITABLE), **own}


def renewed(metadata: Object, old: Object) -> Object:
    """The metadata of a changed object: the server's part stays."""
    return {**{name: old[name] for name in old if name not in _WRITABLE}, **_chosen(metadata, _WRITABLE)}


def _chosen(metadata: Object, names: tuple[str, ...]) -> Object:
    return {name: metadata[name] for name in names if metadata.get(name)}


def rfc3339(moment: datetime | None = None) -> str:
    """A time as objects bear it, to the second; now by default."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
