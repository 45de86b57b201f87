"""KAI's message, to and from bytes."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import replace

import pytest
from google.protobuf import json_format, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.any_pb2 import Any as ProtobufAny
from hypothesis import assume, given
from hypothesis import strategies as st

from kai_airflow.messaging import kai_nats_msg_pb2 as wire
from kai_airflow.messaging.codec import (
    Json,
    Message,
    MessageType,
    Payload,
    decode,
    encode,
    pack,
    unpack,
)
from kai_airflow.messaging.errors import BadMessageError, MessageTooLargeError, PayloadError

LIMIT = 1 << 20
HELLO = Message("request-1", pack({"message": "hello"}), "", "trigger", MessageType.OK)
# Written by hand: request_id = 1, payload = 2 (type_url = 1, value = 2), error = 3, from_node = 4, message_type = 5.
BY_HAND = b"\x0a\x02id" + b"\x12\x06\x0a\x01t\x12\x01v" + b"\x1a\x03bad" + b"\x22\x04node" + b"\x28\x02"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
jsons = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
messages = st.builds(
    Message,
    request_id=texts,
    payload=st.builds(Payload, texts, st.binary(max_size=50)),
    error=texts,
    from_node=texts,
    type=st.sampled_from(MessageType),
)


def nested(levels: int, *, objects: bool) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = {"a": value} if objects else [value]
    return value


@given(messages)
def test_a_message_survives_the_way(message: Message) -> None:
    assume(message != Message("", type=MessageType.UNDEFINED))  # has no bytes at all
    assert decode(encode(message, LIMIT)) == message


@given(messages)
def test_a_message_survives_the_way_gzipped(message: Message) -> None:
    assert decode(encode(replace(message, error="x" * 5000), 3000)) == replace(message, error="x" * 5000)


def test_the_numbers_of_the_fields_are_kais() -> None:
    message = Message("id", Payload("t", b"v"), "bad", "node", MessageType.ERROR)
    assert encode(message, LIMIT) == BY_HAND
    assert decode(BY_HAND) == message


def test_a_message_that_fits_is_not_gzipped() -> None:
    plain = encode(HELLO, LIMIT)
    assert encode(HELLO, len(plain)) == plain
    assert not plain.startswith(b"\x1f\x8b")


def test_a_message_beyond_the_limit_is_gzipped_whole_and_always_alike() -> None:
    message = replace(HELLO, payload=pack(["text"] * 1000))
    packed = encode(message, 1000)
    assert packed.startswith(b"\x1f\x8b\x08")
    assert len(packed) <= 1000
    assert gzip.decompress(packed) == encode(message, LIMIT)
    assert packed[4:8] == bytes(4)  # no time in it
    assert packed == encode(message, 1000)


def test_a_message_too_large_even_gzipped_is_an_error_that_names_it() -> None:
    with pytest.raises(MessageTooLargeError, match=r"'request-1' of trigger is \d+ bytes.*takes 10\..*Remedy"):
        encode(HELLO, 10)


def test_text_that_is_not_unicode_is_an_error() -> None:
    with pytest.raises(PayloadError, match="not Unicode"):
        encode(replace(HELLO, error="\ud800"), LIMIT)


def test_a_gzip_of_several_members_is_read_as_gzip_says() -> None:
    plain = encode(HELLO, LIMIT)
    assert decode(gzip.compress(plain[:5], mtime=0) + gzip.compress(plain[5:])) == HELLO


@pytest.mark.parametrize("cut", range(2, len(gzip.compress(encode(HELLO, LIMIT), mtime=0))))
def test_a_gzip_cut_short_anywhere_is_an_error(cut: int) -> None:
    with pytest.raises(BadMessageError, match="gzip"):
        decode(gzip.compress(encode(HELLO, LIMIT), mtime=0)[:cut])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\x1f\x8b", "gzip"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (gzip.compress(encode(HELLO, LIMIT), mtime=0) + b"garbage", "gzip"),
        (gzip.compress(encode(HELLO, LIMIT), mtime=0) + bytes(8), "gzip"),
        (gzip.compress(encode(HELLO, LIMIT), mtime=0)[:-8] + bytes(8), "gzip"),
        (gzip.compress(b"not protobuf", mtime=0), "protobuf"),
        (gzip.compress(gzip.compress(encode(HELLO, LIMIT), mtime=0), mtime=0), "protobuf"),
        (zlib.compress(encode(HELLO, LIMIT)), "protobuf"),
        (b"not protobuf", "protobuf"),
        (b'{"request_id": "1"}', "protobuf"),
        (BY_HAND[:-1], "protobuf"),
        (b"\x0a\x02\xff\xfe", "protobuf"),  # request_id is not UTF-8
        (b"\x28\x07", "message_type 7"),
    ],
)
def test_what_is_no_message_is_an_error_that_says_why(data: bytes, said: str) -> None:
    with pytest.raises(BadMessageError, match=said):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    for bytes_ in (data, b"\x1f\x8b\x08" + data, gzip.compress(data, mtime=0)):
        with suppress(BadMessageError):
            assert isinstance(decode(bytes_), Message)


def test_a_gzip_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(bytes(100 << 20), mtime=0)
    tracemalloc.start()
    try:
        with pytest.raises(BadMessageError, match="more than 1048576 bytes"):
            decode(bomb, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_many_small_gzips_cannot_pass_the_limit_together() -> None:
    with pytest.raises(BadMessageError, match="more than 1000 bytes"):
        decode(gzip.compress(bytes(100), mtime=0) * 11, limit=1000)


def test_a_field_from_the_future_is_no_error() -> None:
    assert decode(BY_HAND + b"\x32\x01x").request_id == "id"


@given(jsons)
def test_json_survives_the_way(value: Json) -> None:
    back = unpack(pack(value))
    assert back == value
    json.dumps(back, allow_nan=False)


@given(jsons)
def test_a_payload_is_protobufs_own_json_value(value: Json) -> None:
    payload = pack(value)
    any_ = ProtobufAny(type_url=payload.type_url, value=payload.value)
    theirs = struct_pb2.Value()
    assert any_.Unpack(theirs)
    assert json_format.MessageToDict(theirs) == value


def test_whole_numbers_come_back_as_integers_and_truth_as_truth() -> None:
    back = unpack(pack([1, 1.0, 2**53, 1.5, 2**60, True, False, 0]))
    assert back == [1, 1, 2**53, 1.5, 2.0**60, True, False, 0]
    assert [type(item) for item in back] == [int, int, int, float, float, bool, bool, int]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), r"at \$: nan is not JSON"),
        ({"a": [1, float("-inf")]}, r"at \$\.a\[1\]: -inf is not JSON"),
        ({"id": 2**53 + 1}, r"at \$\.id: integer too large.*as text"),
        (10**400, r"at \$: integer too large"),
        ({1: "a"}, r"at \$: the key 1 is not text"),
        ([b"x"], r"at \$\[0\]: bytes.*base64"),
        ({"a": object()}, r"at \$\.a: object is not JSON"),
        ({"a": {1, 2}}, r"at \$\.a: set is not JSON"),
        ({"a": "\ud800"}, r"at \$\.a: text that is not Unicode"),
        ({"\ud800": 1}, r"at \$: text that is not Unicode"),
    ],
)
def test_what_a_payload_cannot_carry_is_an_error_that_names_the_place(value: Json, said: str) -> None:
    with pytest.raises(PayloadError, match=said):
        pack(value)


@pytest.mark.parametrize(("objects", "deepest"), [(False, 49), (True, 33)])
def test_json_is_refused_just_where_a_reader_would_give_up(objects: bool, deepest: int) -> None:
    value = nested(deepest, objects=objects)
    assert unpack(pack(value)) == value
    with pytest.raises(PayloadError, match="nested too deeply"):
        pack(nested(deepest + 1, objects=objects))
    with pytest.raises(PayloadError, match="nested too deeply"):
        pack(nested(100_000, objects=objects))


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=1)}), {"a": 1}),
        (struct_pb2.ListValue(values=[struct_pb2.Value(bool_value=True)]), [True]),
        (struct_pb2.Value(), None),
        (struct_pb2.Value(number_value=float("nan")), "NaN"),
        (struct_pb2.Value(number_value=float("-inf")), "-Infinity"),
        (wrappers_pb2.StringValue(value="text"), "text"),
        (wrappers_pb2.StringValue(), ""),
        (wrappers_pb2.Int64Value(value=2**60 + 1), 2**60 + 1),
        (wrappers_pb2.UInt32Value(value=7), 7),
        (wrappers_pb2.DoubleValue(value=0.5), 0.5),
        (wrappers_pb2.BoolValue(value=True), True),
        (wrappers_pb2.BytesValue(value=b"\x00\xff"), "AP8="),
    ],
)
def test_protobufs_json_like_types_are_read_as_json(message: struct_pb2.Value, value: Json) -> None:
    any_ = ProtobufAny()
    any_.Pack(message)
    back = unpack(Payload(any_.type_url, any_.value))
    assert back == value
    assert type(back) is type(value)


def test_another_type_is_shown_with_its_bytes() -> None:
    any_ = ProtobufAny()
    any_.Pack(timestamp_pb2.Timestamp(seconds=1))
    assert unpack(Payload(any_.type_url, any_.value)) == {
        "@type": "type.googleapis.com/google.protobuf.Timestamp",
        "value": base64.b64encode(any_.value).decode(),
    }


def test_no_payload_is_none() -> None:
    assert unpack(decode(b"\x0a\x02id").payload) is None


@pytest.mark.parametrize("value", [b"\xff", nested(60, objects=False)])
def test_a_payload_that_is_not_what_it_says_is_an_error(value: bytes | Json) -> None:
    if not isinstance(value, bytes):
        json_format.ParseDict(value, deep := struct_pb2.Value(), max_recursion_depth=1000)
        value = deep.SerializeToString()
    with pytest.raises(BadMessageError, match=r"google\.protobuf\.Value"):
        unpack(Payload("type.googleapis.com/google.protobuf.Value", value))


def test_the_same_value_is_the_same_bytes_in_every_process() -> None:
    program = "from kai_airflow.messaging.codec import pack; print(pack({c: 1 for c in 'abcdefgh'}).value.hex())"
    runs = {subprocess.check_output([sys.executable, "-c", program]) for _ in range(3)}
    assert len(runs) == 1


def test_the_generated_code_belongs_to_the_proto_file() -> None:
    """Whoever edits one has to make the other: ``make proto``."""
    fields = {field.name: field.number for field in wire.KaiNatsMessage.DESCRIPTOR.fields}
    assert fields == {"request_id": 1, "payload": 2, "error": 3, "from_node": 4, "message_type": 5}
    assert dict(wire.MessageType.items()) == {"UNDEFINED": 0, "OK": 1, "ERROR": 2}
