"""The hook and its Test button, on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.errors import NatsUnavailableError
from kai_airflow.nats.hook import NatsHook
from tests.messaging.credentials import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import NatsServer, StartNats

    Know = Callable[..., None]


async def test_the_hook_gives_a_client_and_its_jetstream(known_server: NatsServer) -> None:
    async with NatsHook().get_conn() as connection:
        await connection.js.add_stream(name="ORDERS", subjects=["orders.>"])
        assert (await connection.js.publish("orders.new", b"x")).seq == 1
        assert f"127.0.0.1:{known_server.port}" in str(connection.nc.connected_url)
    assert connection.closed.is_set()


@pytest.mark.usefixtures("known_server")
def test_the_button_tells_server_and_jetstream() -> None:
    good, text = NatsHook().test_connection()
    assert good
    assert "Connected to nats://127.0.0.1" in text
    assert "nats-server 2." in text
    assert "JetStream is on, with 0 streams." in text


def test_the_button_tells_that_jetstream_is_off(start_nats: StartNats, airflow_connection: Know) -> None:
    airflow_connection("plain", host="127.0.0.1", port=start_nats(jetstream=False).port)
    good, text = NatsHook("plain").test_connection()
    assert good
    assert "JetStream is off for this account" in text


def test_the_button_tells_that_jetstream_may_not_be_asked(start_nats: StartNats, airflow_connection: Know) -> None:
    permissions = '{ publish: "orders.>", subscribe: "_INBOX.>" }'
    server = start_nats(f'authorization {{ users: [{{ user: "u", password: "p", permissions: {permissions} }}] }}')
    airflow_connection(host="127.0.0.1", port=server.port, login="u", password="p")
    good, text = NatsHook().test_connection()
    assert good
    assert "JetStream can't be asked" in text


def test_the_button_tells_why_it_cannot_connect_and_no_secret(start_nats: StartNats, airflow_connection: Know) -> None:
    server = start_nats('authorization { user: "kai", password: "s3cret" }')
    airflow_connection(host="127.0.0.1", port=server.port, login="kai", password="wr0ng")
    good, text = NatsHook().test_connection()
    assert not good
    assert "refuses" in text
    assert "Remedy" in text
    assert "wr0ng" not in text


def test_the_button_tells_what_is_wrong_with_the_connection_itself(airflow_connection: Know) -> None:
    airflow_connection(extra={"tokn": "x"})
    good, text = NatsHook().test_connection()
    assert not good
    assert "'tokn' of its extra isn't one of" in text


async def test_certificates_come_from_the_connection(
    start_nats: StartNats, airflow_connection: Know, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, (certificate, key) = start_nats(authority.config(verify=True)), authority.client
    extra = {"tls_ca": authority.ca.read_text(), "tls_cert": str(certificate), "tls_private_key": key.read_text()}
    airflow_connection(host="tls://127.0.0.1", port=server.port, extra=extra)
    async with NatsHook().get_conn() as connection:
        await connection.nc.flush()
    assert (await asyncio.to_thread(NatsHook().test_connection))[0]


async def test_where_nobody_is_the_hook_says_so(start_nats: StartNats, airflow_connection: Know) -> None:
    server = start_nats()
    server.stop()
    airflow_connection(host="127.0.0.1", port=server.port)
    with pytest.raises(NatsUnavailableError, match=r"nobody answers.*Remedy"):
        async with NatsHook().get_conn():
            pass
