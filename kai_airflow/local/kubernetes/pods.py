"""What a pod may be here: the fields that the runtime heeds, as models; the fields that it can't heed are refused."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import DnsLabel, Metadata, Model, Port, Seconds, Subdomain
from kai_airflow.local.kubernetes.readiness import Probe

Text = Annotated[str, StringConstraints(min_length=1)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[ -<>-~]+$")]  # printable ASCII without =
Mode = Annotated[int, Field(ge=0, le=0o777)]

FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "status.podIP")
_MAPS = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def _inside(value: str) -> str:
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts or "\0" in value:
        raise PydanticCustomError("path", "must be a relative path without '..' and NUL")
    return value


class FieldRef(Model):
    """A field of the pod, for the environment or a downwardAPI volume."""

    field_path: str

    @field_validator("field_path")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FIELDS and not _MAPS.fullmatch(value):
            known = "{}, metadata.labels['KEY'] or metadata.annotations['KEY']".format(", ".join(FIELDS))
            raise PydanticCustomError("field", "must be one of {known}", {"known": known})
        return value

    def read(self, pod: Object) -> str:
        """The field's value; empty where the pod has no such label or annotation."""
        if match := _MAPS.fullmatch(self.field_path):
            return str(pod["metadata"].get(match[1], {}).get(match[2], ""))
        part, name = self.field_path.split(".")
        return str(pod[part].get(name, ""))


class SecretKeyRef(Model):
    """One key of a Secret."""

    name: Subdomain
    key: Text
    optional: bool = False


class ValueFrom(Model):
    """Where a variable's value comes from."""

    missing = frozenset({"configMapKeyRef", "resourceFieldRef", "fileKeyRef"})
    field_ref: FieldRef | None = None
    secret_key_ref: SecretKeyRef | None = None

    @model_validator(mode="after")
    def _one(self) -> "ValueFrom":
        if (self.field_ref is None) is (self.secret_key_ref is None):
            raise PydanticCustomError("value_from", "needs exactly one of fieldRef and secretKeyRef")
        return self


class Env(Model):
    """An environment variable."""

    name: EnvName
    value: str = ""
    value_from: ValueFrom | None = None


class SecretRef(Model):
    """A whole Secret."""

    name: Subdomain
    optional: bool = False


class EnvFrom(Model):
    """A Secret whose keys become variables."""

    missing = frozenset({"configMapRef"})
    prefix: str = ""
    secret_ref: SecretRef


class VolumeMount(Model):
    """Where a container wants a volume."""

    missing = frozenset({"subPathExpr", "mountPropagation"})
    name: DnsLabel
    mount_path: Text
    sub_path: str = ""
    read_only: bool = False

    _sub_path = field_validator("sub_path")(_inside)

    @field_validator("mount_path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or posixpath.normpath(value).strip("/") == "":
            raise PydanticCustomError("path", "must be an absolute path below /")
        return value


class ContainerPort(Model):
    """A port on which a container listens."""

    missing = frozenset({"hostPort"})
    container_port: Port
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Container(Model):
    """One container. An init container is one too."""

    missing = frozenset(
        {
            "lifecycle",
            "livenessProbe",
            "startupProbe",
            "restartPolicy",
            "stdin",
            "tty",
            "volumeDevices",
        }
    )
    name: DnsLabel
    image: Text
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    env: list[Env] = []
    env_from: list[EnvFrom] = []
    volume_mounts: list[VolumeMount] = []
    ports: list[ContainerPort] = []
    readiness_probe: Probe | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"

    @property
    def tcp_ports(self) -> list[int]:
        """The ports on which it takes connections."""
        return [port.container_port for port in self.ports if port.protocol == "TCP"]

    def port(self, wanted: int | str) -> int | None:
        """A port by its number or by its name; None where no port is named so."""
        if isinstance(wanted, int):
            return wanted
        return next((port.container_port for port in self.ports if port.name == wanted), None)

    @model_validator(mode="after")
    def _ports(self) -> "Container":
        _unique("ports", (f"{port.container_port}/{port.protocol}" for port in self.ports))
        _unique("ports", (port.name for port in self.ports if port.name))
        return self


class Item(Model):
    """One key of a Secret as a file."""

    key: Text
    path: Text
    mode: Mode | None = None

    _path = field_validator("path")(_inside)


class SecretVolume(Model):
    """A Secret as files."""

    secret_name: Subdomain
    items: list[Item] = []
    default_mode: Mode = 0o644
    optional: bool = False


class DownwardItem(Model):
    """One field of the pod as a file."""

    missing = frozenset({"resourceFieldRef"})
    path: Text
    field_ref: FieldRef

    _path = field_validator("path")(_inside)


class DownwardVolume(Model):
    """Fields of the pod as files."""

    items: list[DownwardItem] = []


_SOURCES = ("secret", "emptyDir", "downwardAPI")


class Volume(Model):
    """A folder that containers of the pod may mount."""

    name: DnsLabel
    secret: SecretVolume | None = None
    empty_dir: Object | None = None
    downward_api: Annotated[DownwardVolume | None, Field(alias="downwardAPI")] = None

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, data: Any) -> Any:
        sources = sorted(data.keys() - {"name"}) if isinstance(data, dict) else []
        if len(sources) > 1:
            raise PydanticCustomError("volume", "may have one source only")
        if sources and sources[0] not in _SOURCES:
            raise PydanticCustomError("not_implemented", "volumes of the type {name}", {"name": sources[0]})
        return data


class PodSpec(Model):
    """A pod's spec."""

    missing = frozenset({"ephemeralContainers", "readinessGates", "schedulingGates", "resourceClaims"})
    containers: Annotated[list[Container], Field(min_length=1)]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Seconds = 30
    active_deadline_seconds: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None

    @property
    def all_containers(self) -> list[Container]:
        """Init containers, then the others."""
        return [*self.init_containers, *self.containers]

    @model_validator(mode="after")
    def _consistent(self) -> "PodSpec":
        _unique("containers", (container.name for container in self.all_containers))
        _unique("volumes", (volume.name for volume in self.volumes))
        volumes = {volume.name for volume in self.volumes}
        for container in self.all_containers:
            _unique("mountPaths", (mount.mount_path for mount in container.volume_mounts))
            for mount in container.volume_mounts:
                if mount.name not in volumes:
                    what = "container {container} mounts a volume {name} that the pod doesn't have"
                    names = {"container": container.name, "name": mount.name}
                    raise PydanticCustomError("mount", what, names)
        return self


def _unique(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise PydanticCustomError("duplicate", "two {what} bear the name {name}", {"what": what, "name": name})


class Pod(Model):
    """A pod as a client describes it."""

    metadata: Metadata
    spec: PodSpec
