"""From Airflow's connections to addresses and clients."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook, KubernetesHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from kubernetes.config import ConfigException as SyncConfigError
from kubernetes_asyncio.client import CoreV1Api
from kubernetes_asyncio.config import ConfigException as AsyncConfigError

from kai_airflow.kube.app_config import PLACEHOLDERS
from kai_airflow.nats.address import DEFAULT_CONN_ID, address
from kai_airflow.nats.errors import ConnectionMissingError, ConnectionWrongError
from kai_airflow.operators.pods import Pods

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from kai_airflow.messaging.address import NatsAddress

__all__ = [
    "ConnectionMissingError",
    "ConnectionWrongError",
    "Services",
    "kubernetes_configured",
    "kubernetes_extra",
    "kubernetes_hook",
    "kubernetes_pods",
    "nats_address",
    "services",
]

KUBERNETES_CONN_ID = "kubernetes_default"
NATS_CONN_ID = DEFAULT_CONN_ID
SERVICES_CONN_ID = "kai_services"


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


def kubernetes_extra() -> Mapping[str, Any]:
    """The extra of the connection ``kubernetes_default``, ``kube_config`` in it as a map; empty where there is none.

    :raises ConnectionWrongError: its kube_config is no kubeconfig
    """
    extra = dict(KubernetesHook(KUBERNETES_CONN_ID).conn_extras)
    try:
        config = yaml.safe_load(extra["kube_config"]) if isinstance(extra.get("kube_config"), str) else {}
    except yaml.YAMLError as error:
        raise ConnectionWrongError(KUBERNETES_CONN_ID, "kube_config of its extra is neither JSON nor YAML") from error
    if not isinstance(config or {}, dict):
        raise ConnectionWrongError(KUBERNETES_CONN_ID, "kube_config of its extra is no map")
    return {**extra, **({"kube_config": config} if config else {})}


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
    :raises ConnectionWrongError: it says something that can't be used
    """
    return address(NATS_CONN_ID)


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
        raise ConnectionWrongError(
            SERVICES_CONN_ID, f"section {name!r} of its extra isn't one of {', '.join(PLACEHOLDERS)}"
        )
    if not isinstance(keys, dict):
        raise ConnectionWrongError(SERVICES_CONN_ID, f"section {name!r} of its extra is no map")
    for key in keys:
        if key not in PLACEHOLDERS[name]:
            raise ConnectionWrongError(
                SERVICES_CONN_ID, f"{name}.{key} of its extra isn't one of {', '.join(PLACEHOLDERS[name])}"
            )
