"""From Airflow's connections to addresses and clients."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook, KubernetesHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from kubernetes.config import ConfigException as SyncConfigError
from kubernetes_asyncio.client import CoreV1Api
from kubernetes_asyncio.config import ConfigException as AsyncConfigError

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.app_config import PLACEHOLDERS
from kai_airflow.messaging.connection import NatsAddress
from kai_airflow.operators.pods import Pods

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from airflow.sdk import Connection

NATS_CONN_ID = "nats_default"
SERVICES_CONN_ID = "kai_services"
_NATS_PORT = 4222


class ConnectionMissingError(KaiAirflowError):
    """Airflow doesn't know a connection that a task needs."""


class ConnectionWrongError(KaiAirflowError):
    """The connection ``kai_services`` says something that app.yaml has no place for."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Airflow's connection {SERVICES_CONN_ID!r}: {what}. Remedy: see docs/deploying.md.")


@dataclass(frozen=True)
class Services:
    """What stands in app.yaml beside NATS: sections of ``kube.app_config.PLACEHOLDERS``, with their secrets."""

    sections: Mapping[str, Mapping[str, Any]]

    def __repr__(self) -> str:
        return f"Services({', '.join(self.sections)})"


@contextmanager
def kubernetes_configured() -> Iterator[None]:
    """Translate what the two Kubernetes clients say of a configuration that they can't use.

    :raises ConnectionMissingError: with the connection to mend
    """
    try:
        yield
    except (SyncConfigError, AsyncConfigError) as error:
        raise ConnectionMissingError(
            f"Kubernetes: {error}. Remedy: in Airflow's connection 'kubernetes_default', name a kubeconfig "
            "(kube_config_path) or set in_cluster."
        ) from error


def kubernetes_hook(conn_id: str | None) -> AsyncKubernetesHook:
    """The hook whose clients speak asyncio."""
    stock = KubernetesHook(conn_id)
    # The stock hook falls back to the cluster that it runs in where the connection says nothing, the asyncio hook
    # doesn't.
    return AsyncKubernetesHook(
        conn_id=conn_id, in_cluster=stock.is_in_cluster or None, connection_extras=stock.conn_extras
    )


@asynccontextmanager
async def kubernetes_pods(hook: AsyncKubernetesHook) -> AsyncIterator[Pods]:
    """The pods of the cluster that the hook knows.

    :raises ConnectionMissingError: its configuration can't be used
    """
    with kubernetes_configured():
        async with hook.get_conn() as client:
            yield Pods(CoreV1Api(client))


def nats_address() -> NatsAddress:
    """Where NATS is, from the connection ``nats_default``.

    :raises ConnectionMissingError: Airflow has no such connection
    """
    try:
        return NatsAddress(_url(BaseHook.get_connection(NATS_CONN_ID)))
    except AirflowNotFoundException as error:
        raise ConnectionMissingError(
            f"Airflow has no connection {NATS_CONN_ID!r}. Remedy: add one of type generic with host, port, and where "
            "needed login and password."
        ) from error


def services() -> Services:
    """MinIO, Keycloak, Redis, OpenTelemetry: sections of app.yaml in the extra of the connection ``kai_services``.

    :raises ConnectionWrongError: a section or key that app.yaml doesn't have
    """
    try:
        extra = BaseHook.get_connection(SERVICES_CONN_ID).extra_dejson
    except AirflowNotFoundException:
        return Services({})
    for name, keys in extra.items():
        _check_service(name, keys)
    return Services(extra)


def _check_service(name: str, keys: object) -> None:
    if name not in PLACEHOLDERS:
        raise ConnectionWrongError(f"section {name!r} of its extra isn't one of {', '.join(PLACEHOLDERS)}")
    if not isinstance(keys, dict):
        raise ConnectionWrongError(f"section {name!r} of its extra is no map")
    for key in keys:
        if key not in PLACEHOLDERS[name]:
            raise ConnectionWrongError(f"{name}.{key} of its extra isn't one of {', '.join(PLACEHOLDERS[name])}")


def _url(connection: Connection) -> str:
    login = quote(connection.login or "", safe="")
    password = quote(connection.password or "", safe="")
    userinfo = f"{login}:{password}@" if password else f"{login}@" if login else ""
    return f"nats://{userinfo}{connection.host or 'localhost'}:{connection.port or _NATS_PORT}"
