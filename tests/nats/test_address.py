"""From an Airflow connection to an address, with Airflow's own connections and masking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk._shared.secrets_masker import redact

from kai_airflow.messaging.address import NatsAddress
from kai_airflow.nats.address import EXTRA, address, async_address
from kai_airflow.nats.errors import ConnectionMissingError, ConnectionWrongError

if TYPE_CHECKING:
    from collections.abc import Callable

    Know = Callable[..., None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, NatsAddress("nats://localhost:4222")),
        ({"host": "h", "port": 4333}, NatsAddress("nats://h:4333")),
        ({"host": "a, b:1,tls://c", "port": 9}, NatsAddress("nats://a:9,nats://b:1,tls://c:9")),
        ({"host": "[::1]"}, NatsAddress("nats://[::1]:4222")),
        ({"host": "h:port"}, NatsAddress("nats://h:port")),  # connecting says that it is none
        ({"login": "kai", "password": "p@ss"}, NatsAddress("nats://localhost:4222", user="kai", password="p@ss")),
        ({"login": "t0ken"}, NatsAddress("nats://localhost:4222", token="t0ken")),
        ({"password": "t0ken"}, NatsAddress("nats://localhost:4222", token="t0ken")),
        ({"extra": {"token": "t0ken", "pods": None}}, NatsAddress("nats://localhost:4222", token="t0ken")),
        (
            {"extra": {"creds_secret": "/c", "tls_ca": "/ca", "tls_cert": "/cert", "tls_private_key": "/key"}},
            NatsAddress("nats://localhost:4222", creds="/c", tls_ca="/ca", tls_cert="/cert", tls_key="/key"),
        ),
        (
            {"extra": {"nkey_secret": "SEED", "pods": "p,q:1", "pods_user": "u", "pods_password": "p/w"}},
            NatsAddress("nats://localhost:4222", nkey="SEED", pods="nats://u:p%2Fw@p:4222,nats://u:p%2Fw@q:1"),
        ),
        (
            {"extra": {"pods": "tls://p", "pods_token": "t@"}},
            NatsAddress("nats://localhost:4222", pods="tls://t%40@p:4222"),
        ),
    ],
)
async def test_each_field_of_a_connection_has_its_place(
    airflow_connection: Know, fields: dict[str, object], expected: NatsAddress
) -> None:
    airflow_connection("other", **fields)
    assert address("other").as_json() == expected.as_json()
    assert await async_address("other") == expected


@pytest.mark.parametrize("conn_type", ["generic", "nats"])
def test_the_type_of_the_connection_does_not_matter(airflow_connection: Know, conn_type: str) -> None:
    airflow_connection(conn_type=conn_type, host="h")
    assert address().url == "nats://h:4222"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"extra": {"tokn": "hidden"}}, rf"'tokn' of its extra isn't one of {', '.join(EXTRA)}\. Remedy"),
        ({"extra": {"token": 5}}, r"'token' of its extra is no text\. Remedy"),
        ({"extra": "[1]"}, r"its extra is no JSON object\. Remedy"),
        ({"extra": {"pods_user": "u"}}, "'pods_user' of its extra without 'pods'.*Remedy: give the address"),
        ({"extra": {"pods": "nats://u:hidden@p"}}, "a login in 'pods'.*Remedy: put it into pods_user and pods_passw"),
        ({"host": "u:hidden@h"}, "a login in 'host'.*Remedy: put it into login and password"),
    ],
)
def test_what_a_connection_cannot_say_is_an_error_without_secrets(
    airflow_connection: Know, fields: dict[str, object], said: str
) -> None:
    airflow_connection(**fields)
    with pytest.raises(ConnectionWrongError, match=rf"Airflow's connection 'nats_default': {said}") as caught:
        address()
    assert "hidden" not in str(caught.value)


async def test_a_missing_connection_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_NATS_DEFAULT", raising=False)
    with pytest.raises(ConnectionMissingError, match=r"no connection 'nats_default'\. Remedy: add one of type nats"):
        address()
    with pytest.raises(ConnectionMissingError, match=r"no connection 'nats_default'"):
        await async_address()


def test_airflow_masks_each_key_of_the_extra_that_holds_a_secret() -> None:
    shown: Any = redact(dict.fromkeys(EXTRA, "text"))
    assert {key for key, value in shown.items() if value == "text"} == {"tls_ca", "tls_cert", "pods", "pods_user"}
