"""From an Airflow connection to an address of NATS. The type of the connection doesn't matter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from kai_airflow.messaging.address import NatsAddress
from kai_airflow.nats.errors import ConnectionMissingError, ConnectionWrongError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

DEFAULT_CONN_ID = "nats_default"
_PORT = 4222
# The keys of a connection's extra. Airflow shows an extra, and masks a value where its key has one of Airflow's words
# in it, such as secret, token and private_key: so each key that holds a secret must.
_LOGIN = {
    "token": "token",
    "creds_secret": "creds",
    "nkey_secret": "nkey",
    "tls_ca": "tls_ca",
    "tls_cert": "tls_cert",
    "tls_private_key": "tls_key",
}
_PODS = ("pods", "pods_user", "pods_password", "pods_token")
EXTRA = (*_LOGIN, *_PODS)


def address(conn_id: str = DEFAULT_CONN_ID) -> NatsAddress:
    """Where NATS is, from the connection of this id.

    :raises ConnectionMissingError: Airflow has no such connection
    :raises ConnectionWrongError: it says something that can't be used
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _missing(conn_id) from error
    _check_extra(connection)
    return address_of(connection, connection.extra_dejson)


async def async_address(conn_id: str = DEFAULT_CONN_ID) -> NatsAddress:
    """``address`` for an event loop, which Airflow's other way would block."""
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _missing(conn_id) from error
    _check_extra(connection)
    return address_of(connection, await connection.aextra_dejson())


def address_of(connection: Connection, extra: Mapping[str, Any]) -> NatsAddress:
    """The address that stands in a connection with this extra.

    :raises ConnectionWrongError: a key that there isn't, a value that is no text, or a login where Airflow shows it
    """
    given = _given(connection.conn_id, extra)
    port = connection.port or _PORT
    login = {field: given[key] for key, field in _LOGIN.items() if key in given}
    if connection.login and connection.password:
        login |= {"user": connection.login, "password": connection.password}
    elif connection.login or connection.password:
        login |= {"token": connection.login or connection.password or ""}
    return NatsAddress(
        _servers(connection.conn_id, "host", connection.host or "localhost", port),
        pods=_pods(connection.conn_id, given, port),
        **login,
    )


def _missing(conn_id: str) -> ConnectionMissingError:
    return ConnectionMissingError(
        f"Airflow has no connection {conn_id!r}. Remedy: add one of type nats with host, port, and where needed a "
        "login (docs/deploying.md)."
    )


def _check_extra(connection: Connection) -> None:
    """See that it is a JSON object: Airflow would log that it isn't, and take it for empty."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ConnectionWrongError(connection.conn_id, "its extra is no JSON object")


def _given(conn_id: str, extra: Mapping[str, Any]) -> dict[str, str]:
    """What the extra says; a form sends fields that were left empty, too."""
    given = {key: value for key, value in extra.items() if value not in (None, "")}
    for key, value in given.items():
        if key not in EXTRA:
            raise ConnectionWrongError(conn_id, f"{key!r} of its extra isn't one of {', '.join(EXTRA)}")
        if not isinstance(value, str):
            raise ConnectionWrongError(conn_id, f"{key!r} of its extra is no text")
    return given


def _pods(conn_id: str, given: Mapping[str, str], port: int) -> str:
    pods = given.get("pods", "")
    if not pods:
        if found := [key for key in _PODS if key in given]:
            raise ConnectionWrongError(conn_id, f"{found[0]!r} of its extra without 'pods'", "give the address, too")
        return ""
    who = [given[key] for key in ("pods_user", "pods_password", "pods_token") if key in given]
    userinfo = ":".join(quote(part, safe="") for part in who)
    servers = _servers(conn_id, "pods", pods, port)
    return ",".join(server.replace("://", f"://{userinfo}@", 1) if who else server for server in servers.split(","))


def _servers(conn_id: str, field: str, text: str, port: int) -> str:
    return ",".join(_server(conn_id, field, server.strip(), port) for server in text.split(","))


def _server(conn_id: str, field: str, server: str, port: int) -> str:
    if "@" in server:
        raise ConnectionWrongError(
            conn_id,
            f"a login in {field!r}, where Airflow shows it",
            "put it into login and password" if field == "host" else "put it into pods_user and pods_password",
        )
    url = server if "://" in server else f"nats://{server}"
    try:
        return url if urlsplit(url).port is not None else f"{url}:{port}"
    except ValueError:  # no number; connecting says so
        return url
