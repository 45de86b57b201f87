"""What a run is to carry, and what people are shown of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from kai_airflow.bridge.runs.requests import IDS, LOOKED_INTO, PREVIEW, RunRequest, preview, run_request
from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import OriginError
from kai_airflow.messaging.origin import Origin
from tests.bridge.airflow_stub import LONGEST_NOTE

ORIGIN = Origin("shop_v1_0_0_train", "20260102T030405123456Z", "first", (5,), 1)


def of(value: codec.Json) -> str:
    return preview(codec.pack(value))


def test_a_run_carries_where_its_messages_are_and_not_the_messages() -> None:
    request = run_request(ORIGIN, [codec.Message("mine", codec.pack({"a": 1}))])
    assert request.conf == {**ORIGIN.to_conf(), "request_ids": ["mine"], "preview": '{"a": 1}'}
    assert request.note == "request mine of first: message 5 of shop_v1_0_0_train"


def test_a_group_says_how_many_and_which() -> None:
    origin = Origin("shop_v1_0_0_train", "x", "first", (5, 6, 9), 1)
    request = run_request(origin, [codec.Message(f"r{n}", codec.pack(n)) for n in range(3)])
    assert request.note == "3 requests of first: messages 5-6,9 of shop_v1_0_0_train"
    assert request.conf["request_ids"] == ["r0", "r1", "r2"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.lists(TEXT, min_size=1, max_size=150), st.integers(1, 5))
def test_it_is_read_as_it_was_written_and_takes_little_room(ids: list[str], step: int) -> None:
    origin = Origin("s" * 255, "x", "first", tuple(range(1, len(ids) * step + 1, step)), 1)
    request = run_request(origin, [codec.Message(one) for one in ids])
    assert RunRequest.from_json(request.to_json()) == request
    assert len(request.request_ids) <= IDS
    assert len(request.note) <= LONGEST_NOTE
    assert request.note.isprintable()
    assert all(one.isprintable() for one in request.request_ids)


def test_a_note_of_many_messages_or_of_a_strange_request_fits_airflows_database() -> None:
    """A longer one is refused with 422, and its messages were dead letters."""
    many = Origin("shop_v1_0_0_train", "x", "first", tuple(range(1, 20_001, 2)), 1)
    note = run_request(many, [codec.Message("one")] * 10_000).note
    assert len(note) <= LONGEST_NOTE
    assert note.startswith("10000 requests of first: messages 1,3,5,")
    strange = run_request(ORIGIN, [codec.Message("\U000e0001" * 200)])
    assert len(strange.note) <= LONGEST_NOTE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b"5",
        b"{}",
        b'{"sequences": "5"}',
        json.dumps(ORIGIN.to_conf()).encode(),
    ]
    + [json.dumps({**ORIGIN.to_conf(), "request_ids": ids, "preview": ""}).encode() for ids in (5, None)],
)
def test_what_nobody_wrote_down_is_an_error(data: bytes) -> None:
    with pytest.raises(OriginError):
        RunRequest.from_json(data)


# The preview.


@pytest.mark.parametrize("key", ["password", "github_secret", "apiKey", "Authorization", "access-token"])
def test_a_secret_by_its_key_is_not_shown(key: str) -> None:
    for value in ("s3cret", ["s3cret"], {"inner": "s3cret"}):
        assert "s3cret" not in of({"list": [{key: value}], "other": 1})
    assert '"other": 1' in of({key: "s3cret", "other": 1})


@pytest.mark.parametrize(
    "text", ["nats://user:s3cret@host/x", "please use password=s3cret", "TOKEN: s3cret", "x https://s3cret@host"]
)
def test_a_secret_inside_a_text_is_not_shown(text: str) -> None:
    assert "s3cret" not in of(text)
    assert "s3cret" not in of({"a": [text]})


def test_a_preview_is_cut_and_what_was_cut_shows_no_secret() -> None:
    assert len(of("x" * 60_000)) <= PREVIEW + 3
    assert "s3cret" not in of({"password": "s3cret" * 1000})
    assert "s3cret" not in of(["x" * (PREVIEW - 30), {"password": "s3cret"}])


def test_a_large_payload_is_not_unpacked() -> None:
    text = of("s3cret" * LOOKED_INTO)
    assert text.startswith("(type.googleapis.com/google.protobuf.Value, ")
    assert "s3cret" not in text


@pytest.mark.parametrize("size", [1, LOOKED_INTO + 1])
@pytest.mark.parametrize("url", ["x" * 900_000, "a\0b", "type\nof\x1bmine", "ü" * 70_000, "\U000e0001" * 70_000])
def test_a_types_name_is_cut_and_printable(url: str, size: int) -> None:
    """Databases refuse a NUL, and a conf isn't the place for a megabyte."""
    text = preview(codec.Payload(url, b"x" * size))
    assert len(text) <= PREVIEW + 3
    assert not any(bad in text for bad in "\0\n\x1b")


def nested(levels: int) -> bytes:
    """A Value so deep that its bytes are about as many as its levels are."""
    data = struct_pb2.Value(number_value=1).SerializeToString()
    for _ in range(levels):
        inner = b"\x0a" + _varint(len(data)) + data
        data = b"\x32" + _varint(len(inner)) + inner
    return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


VALUE = "type.googleapis.com/google.protobuf.Value"
HOSTILE: list[codec.Payload] = [
    codec.Payload(),
    codec.Payload(VALUE, b""),
    codec.Payload(VALUE, b"\xff" * 1000),
    codec.Payload(VALUE, nested(40)),
    codec.Payload(VALUE, nested(5000)),
    *(codec.Payload(VALUE, struct_pb2.Value(number_value=n).SerializeToString()) for n in (float("nan"), float("inf"))),
    codec.Payload(VALUE, struct_pb2.Value(string_value="a\0\x1b\u2028\ud7ff").SerializeToString()),
    *(
        codec.Payload(
            VALUE, struct_pb2.Value(string_value=(text * LOOKED_INTO)[: LOOKED_INTO - 100]).SerializeToString()
        )
        for text in (
            "a",
            "@://",
            "://a@",
            "password",
            "pass-word=",
            "auth ",
            "api key",
            "-----private key-----",
            "\n",
            "token.",
        )
    ),
    codec.pack({f"password{n}": "x" for n in range(2000)}),
    codec.pack([[]] * 10_000),
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_payload_is_looked_into_soon_and_harmlessly(payload: codec.Payload) -> None:
    begin = time.process_time()
    text = preview(payload)
    assert time.process_time() - begin < 1
    assert len(text) <= PREVIEW + 3
    assert "\0" not in json.loads(json.dumps(text))
    json.dumps(text, allow_nan=False)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_payload_has_a_preview_that_fits(value: Any) -> None:
    text = of(value)
    assert len(text) <= PREVIEW + 3
    if len(text) <= PREVIEW:
        json.loads(text)
