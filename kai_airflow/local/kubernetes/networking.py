"""Services and Ingresses: what a client may say, as models."""

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.metadata import (
    LabelValue,
    Metadata,
    Model,
    Port,
    QualifiedName,
    Subdomain,
)

NGINX = "nginx.ingress.kubernetes.io/"
USE_REGEX, REWRITE, PROTOCOL = f"{NGINX}use-regex", f"{NGINX}rewrite-target", f"{NGINX}backend-protocol"
STRIP_PATH = "konghq.com/strip-path"
"""What KAI's own Ingress says, for Kong: the matched path is taken away."""

SERVICE_PROTOCOL = "konghq.com/protocol"
"""What KAI's own Services say, for Kong, where they don't speak HTTP: `grpc`."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PLAIN = re.compile(r"/[-A-Za-z0-9._~/]*")
Host = Annotated[str, StringConstraints(pattern=rf"^((\*\.)?{_LABEL}(\.{_LABEL})*)?$", max_length=253)]


class ServicePort(Model):
    """One port of a Service."""

    missing = frozenset({"nodePort"})
    name: str = ""
    port: Port
    target_port: Port | str | None = None
    protocol: Literal["TCP"] = "TCP"

    @property
    def target(self) -> int | str:
        """The containers' port, or the name of one."""
        return self.port if self.target_port is None else self.target_port


class ServiceSpec(Model):
    """A Service's spec. There are no cluster addresses and no names: an Ingress is what leads to a Service."""

    missing = frozenset({"externalName", "externalIPs", "loadBalancerIP"})
    type: str = "ClusterIP"
    selector: dict[QualifiedName, LabelValue] = {}
    ports: list[ServicePort] = []

    @model_validator(mode="after")
    def _consistent(self) -> "ServiceSpec":
        if self.type != "ClusterIP":
            raise PydanticCustomError("not_implemented", "Services of the type {name}", {"name": self.type})
        names = Counter(port.name for port in self.ports)
        if len(self.ports) > 1 and (names[""] or names.most_common(1)[0][1] > 1):
            raise PydanticCustomError("names", "each of several ports needs a name of its own")
        return self

    def port(self, wanted: "BackendPort") -> ServicePort | None:
        """The port that a backend names; None where there is none such."""
        return next((one for one in self.ports if wanted.number == one.port or wanted.name == (one.name or None)), None)


class Service(Model):
    """A Service as a client describes it."""

    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()

    @property
    def protocol(self) -> str:
        """What its pods speak: HTTP, GRPC."""
        return self.metadata.annotations.get(SERVICE_PROTOCOL, "HTTP").upper()


class BackendPort(Model):
    """A port of a Service, by number or by name."""

    number: Port | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "BackendPort":
        if (self.number is None) is (self.name is None):
            raise PydanticCustomError("port", "needs exactly one of number and name")
        return self


class BackendService(Model):
    """The Service that answers."""

    name: Subdomain
    port: BackendPort


class Backend(Model):
    """What answers."""

    missing = frozenset({"resource"})
    service: BackendService


class IngressPath(Model):
    """Requests for a path, and what answers them."""

    path: Annotated[str, StringConstraints(pattern="^/")] = "/"
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: Backend

    @model_validator(mode="after")
    def _plain(self) -> "IngressPath":
        if self.path_type != "ImplementationSpecific" and not _PLAIN.fullmatch(self.path):
            what = "the path {path} needs the pathType ImplementationSpecific: ingress-nginx refuses its characters"
            raise PydanticCustomError("path", what, {"path": self.path})
        return self


class IngressPaths(Model):
    """The paths of a host."""

    paths: Annotated[list[IngressPath], Field(min_length=1)]


class IngressRule(Model):
    """The requests for a host, or for all of them."""

    host: Host = ""
    http: IngressPaths | None = None


class IngressSpec(Model):
    """An Ingress's spec. Its class and its TLS are kept: one proxy serves them all, over plain HTTP."""

    default_backend: Backend | None = None
    rules: list[IngressRule] = []


class Ingress(Model):
    """An Ingress as a client describes it."""

    metadata: Metadata
    spec: IngressSpec

    @property
    def is_regex(self) -> bool:
        """Whether its paths are regular expressions, as nginx's annotations say."""
        return self.metadata.annotations.get(USE_REGEX) == "true" or REWRITE in self.metadata.annotations

    @model_validator(mode="after")
    def _expressions(self) -> "Ingress":
        for rule in self.spec.rules if self.is_regex else ():
            for path in rule.http.paths if rule.http else ():
                try:
                    re.compile(path.path)
                except re.error as error:
                    what = "the path {path} is no regular expression: {why}"
                    raise PydanticCustomError("regex", what, {"path": path.path, "why": str(error)}) from error
        return self
