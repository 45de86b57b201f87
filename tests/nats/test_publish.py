"""The operator that publishes, on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from kai_airflow.messaging.errors import JetStreamError, NatsUnavailableError
from kai_airflow.nats.publish import NatsPublishOperator
from tests.nats.conftest import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer, StartNats

NOTHING = Context()


async def published(**arguments: Any) -> Any:
    operator = NatsPublishOperator(task_id="publish", **arguments)
    return await asyncio.to_thread(operator.execute, NOTHING)


async def make_stream(connection: Connection) -> None:
    await connection.js.add_stream(name=STREAM, subjects=["orders.>"])


@pytest.mark.usefixtures("known_server")
async def test_the_result_is_where_the_stream_keeps_the_message(connection: Connection) -> None:
    await make_stream(connection)
    found = await published(subject="orders.new", payload={"id": 7}, headers={"Kind": "test"})
    assert found == {"stream": STREAM, "sequence": 1, "duplicate": False}
    kept = await connection.js.get_msg(STREAM, 1)
    assert (kept.subject, kept.data, kept.headers) == ("orders.new", b'{"id": 7}', {"Kind": "test"})


@pytest.mark.usefixtures("known_server")
async def test_the_same_message_id_is_kept_once(connection: Connection) -> None:
    await make_stream(connection)
    first = await published(subject="orders.new", payload="x", msg_id="run-1")
    again = await published(subject="orders.new", payload="x", msg_id="run-1")
    other = await published(subject="orders.new", payload="x", msg_id="run-2")
    assert [(one["sequence"], one["duplicate"]) for one in (first, again, other)] == [(1, False), (1, True), (2, False)]


@pytest.mark.usefixtures("known_server")
async def test_without_jetstream_it_goes_to_who_listens(connection: Connection) -> None:
    listening = await connection.nc.subscribe("plain")
    await connection.nc.flush()
    assert await published(subject="plain", payload=b"\x00", jetstream=False) is None
    assert (await listening.next_msg(5)).data == b"\x00"


@pytest.mark.usefixtures("known_server")
async def test_a_subject_that_no_stream_takes_is_an_error() -> None:
    with pytest.raises(JetStreamError, match=r"no stream takes orders\.new\. Remedy: create one"):
        await published(subject="orders.new", payload="x")


@pytest.mark.usefixtures("known_server")
@pytest.mark.parametrize(
    ("subject", "payload"), [("orders new", "x"), ("orders.new", object()), ("orders.new", b"x" * (1 << 21))]
)
@pytest.mark.parametrize("jetstream", [True, False])
async def test_what_can_be_no_message_fails_without_a_retry(subject: str, payload: object, jetstream: bool) -> None:
    with pytest.raises(AirflowFailException, match=r"no message for NATS.*Remedy"):
        await published(subject=subject, payload=payload, jetstream=jetstream)


@pytest.mark.parametrize("jetstream", [True, False])
async def test_what_this_user_may_not_publish_is_an_error(
    start_nats: StartNats,
    airflow_connection: Callable[..., None],
    jetstream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kai_airflow.messaging.connection.API_ANSWER", 0.5)
    server = start_nats('authorization { users: [{ user: "u", password: "p", permissions: { publish: "other" } }] }')
    airflow_connection(host="127.0.0.1", port=server.port, login="u", password="p")
    with pytest.raises(NatsUnavailableError, match="cannot publish on orders"):
        await published(subject="orders.new", payload="x", jetstream=jetstream)


async def test_another_connection_is_named_by_its_id(
    nats_server: NatsServer, connection: Connection, airflow_connection: Callable[..., None]
) -> None:
    airflow_connection("events", host="127.0.0.1", port=nats_server.port)
    await make_stream(connection)
    assert (await published(subject="orders.new", payload="x", nats_conn_id="events"))["sequence"] == 1


def test_subject_payload_and_headers_are_templates() -> None:
    operator = NatsPublishOperator(
        task_id="publish",
        subject="orders.{{ params.kind }}",
        payload={"run": "{{ run_id }}", "raw": [1]},
        headers={"Run": "{{ run_id }}"},
        msg_id="{{ run_id }}",
    )
    operator.render_template_fields(Context(run_id="r-1", params={"kind": "new"}))
    assert (operator.subject, operator.payload) == ("orders.new", {"run": "r-1", "raw": [1]})
    assert (operator.headers, operator.msg_id) == ({"Run": "r-1"}, "r-1")
