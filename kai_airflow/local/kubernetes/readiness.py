"""What a readinessProbe may be, as models."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.metadata import Model, Port, Seconds


class TcpSocket(Model):
    """A port that takes connections."""

    missing = frozenset({"host"})
    port: Port | str


class HttpGet(Model):
    """A page that answers with a status below 400."""

    missing = frozenset({"host", "httpHeaders"})
    port: Port | str
    path: Annotated[str, StringConstraints(pattern="^/")] = "/"
    scheme: Literal["HTTP"] = "HTTP"


class Probe(Model):
    """How to see that a container is ready. Times in seconds."""

    missing = frozenset({"exec", "grpc"})
    tcp_socket: TcpSocket | None = None
    http_get: HttpGet | None = None
    initial_delay_seconds: Seconds = 0
    period_seconds: Annotated[int, Field(ge=1)] = 10
    timeout_seconds: Annotated[int, Field(ge=1)] = 1
    success_threshold: Annotated[int, Field(ge=1)] = 1
    failure_threshold: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _one(self) -> "Probe":
        if (self.tcp_socket is None) is (self.http_get is None):
            raise PydanticCustomError("probe", "needs exactly one of tcpSocket and httpGet")
        return self
