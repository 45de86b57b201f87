"""From Airflow's connections to addresses and clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.app_config import PLACEHOLDERS
from kai_airflow.messaging.connection import NatsAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

NATS_CONN_ID = "nats_default"
SERVICES_CONN_ID = "kai_services"
_NATS_PORT = 4222


class ConnectionMissingError(KaiAirflowError):
    """Airflow doesn't know a connection that a task needs."""


@dataclass(frozen=True)
class Services:
    """What stands in app.yaml beside NATS: sections of ``kube.app_config.PLACEHOLDERS``, with their secrets."""

    sections: Mapping[str, Mapping[str, Any]]

    def __repr__(self) -> str:
        return f"Services({', '.join(self.sections)})"


def nats_address() -> NatsAddress:
    """Where NATS is, from the connection ``nats_default``.

    :raises ConnectionMissingError: Airflow has no such connection
    """
    try:
        return NatsAddress(_url(BaseHook.get_connection(NATS_CONN_ID)))
    except AirflowNotFoundException as error:
        raise ConnectionMissingError(
            f"Airflow has no connection {NATS_CONN_ID!r}. Remedy: add one of type nats with host, port, and where "
            "needed login and password."
        ) from error


def services() -> Services:
    """MinIO, Keycloak, Redis, OpenTelemetry: sections of app.yaml in the extra of the connection ``kai_services``."""
    try:
        extra = BaseHook.get_connection(SERVICES_CONN_ID).extra_dejson
    except AirflowNotFoundException:
        return Services({})
    return Services({name: keys for name, keys in extra.items() if name in PLACEHOLDERS})


def _url(connection: Connection) -> str:
    login = quote(connection.login or "", safe="")
    password = quote(connection.password or "", safe="")
    userinfo = f"{login}:{password}@" if password else f"{login}@" if login else ""
    return f"nats://{userinfo}{connection.host or 'localhost'}:{connection.port or _NATS_PORT}"
