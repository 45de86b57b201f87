"""What a message becomes in Airflow's database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.nats.messages import as_bytes, as_json

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection


async def through(connection: Connection, data: bytes, headers: dict[str, str] | None = None) -> Msg:
    await connection.js.add_stream(name="ORDERS", subjects=["orders.>"])
    await connection.js.publish("orders.new", data, headers=headers)
    subscription = await connection.js.pull_subscribe("", durable="d", stream="ORDERS")
    (message,) = await subscription.fetch(1)
    return message


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (b' ["x"]', ["x"]),
        (b"plain", "plain"),
        (b"5", "5"),
        (b'"quoted"', '"quoted"'),
        (b"", ""),
        (b"{half", "{half"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"[1e999]", "[1e999]"),
        (b'["\\ud800"]', '["\\ud800"]'),
        (b'["\\u0000"]', '["\\u0000"]'),
        (b"[" * 100_000, "[" * 100_000),
        (b"[" + b"9" * 5000 + b"]", "[" + "9" * 5000 + "]"),
    ],
)
async def test_objects_and_arrays_are_parsed_where_the_database_can_hold_them(
    connection: Connection, data: bytes, found: Any
) -> None:
    message = as_json(await through(connection, data))
    assert message["data"] == found
    json.dumps(message, allow_nan=False).encode()


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b"])
async def test_what_is_no_text_is_there_as_base64(connection: Connection, data: bytes) -> None:
    message = as_json(await through(connection, data))
    assert message["data"] is None
    assert message["base64"] == {b"\xff\xfe": "//4=", b"a\x00b": "YQBi"}[data]


async def test_it_says_where_the_message_is_and_its_headers(connection: Connection) -> None:
    message = as_json(await through(connection, b"x", {"Kind": "test"}))
    assert message == {
        "stream": "ORDERS",
        "sequence": 1,
        "subject": "orders.new",
        "headers": {"Kind": "test"},
        "data": "x",
    }


@pytest.mark.parametrize(
    ("payload", "data"),
    [("text ä", "text ä".encode()), (b"\x00", b"\x00"), ({"a": [1]}, b'{"a": [1]}'), (None, b"null"), (5, b"5")],
)
def test_a_payload_is_text_bytes_or_json(payload: object, data: bytes) -> None:
    assert as_bytes(payload) == data


@pytest.mark.parametrize("payload", [object(), float("nan"), {1, 2}])
def test_what_has_no_form_in_json_is_an_error(payload: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        as_bytes(payload)
