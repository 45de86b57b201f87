"""KAI's message, to and from the bytes that travel (KAI reference, section 3). Pure."""

from __future__ import annotations

import base64
import gzip
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from google.protobuf import struct_pb2, wrappers_pb2
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from kai_airflow.messaging import kai_nats_msg_pb2 as wire
from kai_airflow.messaging.errors import BadMessageError, MessageTooLargeError, PayloadError

Json: TypeAlias = Any  # None, bool, int, float, str, and lists and str-keyed dicts of these

MAX_DECODED = 256 << 20  # bytes; NATS takes in far less, and a worker's memory is larger
GZIP_MAGIC = b"\x1f\x8b"
GZIP_FORMAT = 16 + zlib.MAX_WBITS
TYPE_PREFIX = "type.googleapis.com/"
MAX_NESTING = 100  # levels that protobuf's Python reader accepts; a list takes two of them, an object three
LONGEST_ID = 200  # characters of a request id that an error quotes
EXACT_INT = 2**53  # up to here a double tells every integer from its neighbours


class MessageType(IntEnum):
    """Whether a process did well with its request."""

    UNDEFINED = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True)
class Payload:
    """A ``google.protobuf.Any``: the type's URL and the serialized value. Empty is the same as none."""

    type_url: str = ""
    value: bytes = b""


@dataclass(frozen=True)
class Message:
    """One of KAI's messages. ``from_node`` is the sending process, by which a receiver picks its handler."""

    request_id: str
    payload: Payload = Payload()
    error: str = ""
    from_node: str = ""
    type: MessageType = MessageType.OK


def encode(message: Message, limit: int) -> bytes:
    """The bytes of a message, gzipped whole where they are more than ``limit`` otherwise.

    :param limit: bytes; the smaller of the stream's max_msg_size and the server's max_payload, less headers
    :raises MessageTooLargeError: more than ``limit`` bytes even when gzipped
    :raises PayloadError: a text holds lone surrogates
    """
    data = _to_wire(message).SerializeToString()
    if len(data) <= limit:
        return data
    packed = gzip.compress(data, compresslevel=9, mtime=0)  # no time in it: same message, same bytes
    if len(packed) <= limit:
        return packed
    raise MessageTooLargeError(
        f"message {message.request_id[:LONGEST_ID]!r} of {message.from_node} is {len(data)} bytes, {len(packed)} "
        f"gzipped. NATS takes {limit}. Remedy: use an object store, or raise the server's max_payload."
    )


def decode(data: bytes, limit: int = MAX_DECODED) -> Message:
    """The message that these bytes are. What it accepts the SDKs can read: a broken gzip would crash Go's.

    :param limit: bytes that a gzipped message may have when unpacked
    :raises BadMessageError: not a whole gzip, more than ``limit`` bytes, or not KAI's protobuf message
    """
    plain = _gunzip(data, limit) if data.startswith(GZIP_MAGIC) else data
    if not plain:
        raise BadMessageError("not a message: empty")
    try:
        return _from_wire(wire.KaiNatsMessage.FromString(plain))
    except DecodeError as error:
        raise BadMessageError("not a message: not the protobuf message KaiNatsMessage") from error


def pack(value: Json) -> Payload:
    """JSON as KAI's triggers send it, a ``google.protobuf.Value``.

    Its numbers are doubles: an integer that none is exactly, NaN and infinities are refused, not changed.

    :raises PayloadError: naming the place in the value, as ``$.commits[3].id``
    """
    filled = struct_pb2.Value()
    _fill(filled, value, "$", MAX_NESTING)
    return _payload(filled)


def unpack(payload: Payload) -> Json:
    """The JSON in a payload: a Value, Struct, ListValue or wrapper; no payload is ``None``.

    Whole numbers up to 2**53 come back as ``int``. NaN and infinities become "NaN", "Infinity", "-Infinity",
    and bytes become base64, as protobuf's JSON mapping has them. Another type gives
    ``{"@type": its URL, "value": its bytes in base64}``.

    :raises BadMessageError: the payload says that it is one of these types, and is not
    """
    if payload == Payload():
        return None
    kind = TYPES.get(payload.type_url.rpartition("/")[2])
    if kind is None:
        return opaque(payload)
    try:
        return _plain(kind.FromString(payload.value))
    except DecodeError as error:
        raise BadMessageError(f"payload is not the {payload.type_url} it says, or too deep") from error


def opaque(payload: Payload) -> Json:
    """A payload that isn't looked into: its type's URL, and its bytes in base64."""
    return {"@type": payload.type_url, "value": _base64(payload.value)}


def _payload(message: ProtobufMessage) -> Payload:
    # Deterministic: a map's entries would travel in another order in each process otherwise.
    return Payload(TYPE_PREFIX + message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True))


def _to_wire(message: Message) -> wire.KaiNatsMessage:
    try:
        built = wire.KaiNatsMessage(
            request_id=message.request_id,
            error=message.error,
            from_node=message.from_node,
            message_type=message.type.name,
        )
        if message.payload != Payload():
            built.payload.type_url, built.payload.value = message.payload.type_url, message.payload.value
    except UnicodeEncodeError as error:
        raise PayloadError(f"message {message.request_id!r}: text is not Unicode: {error.reason}") from error
    return built


def _from_wire(read: wire.KaiNatsMessage) -> Message:
    try:
        kind = MessageType(read.message_type)
    except ValueError as error:
        raise BadMessageError(f"not a message: message_type {read.message_type} is none of KAI's") from error
    return Message(
        request_id=read.request_id,
        payload=Payload(read.payload.type_url, read.payload.value),
        error=read.error,
        from_node=read.from_node,
        type=kind,
    )


def _gunzip(data: bytes, limit: int) -> bytes:
    """Unpack to at most ``limit`` bytes, so that a small message cannot fill the memory."""
    unpacked = bytearray()
    while data:  # a gzip may be several, one after the other
        unzip = zlib.decompressobj(GZIP_FORMAT)
        try:
            unpacked += unzip.decompress(data, limit - len(unpacked) + 1)
        except zlib.error as error:
            raise BadMessageError(f"not a message: broken gzip, or more behind it: {error}") from error
        if len(unpacked) > limit:
            raise BadMessageError(f"not a message: gzip unpacks to more than {limit} bytes")
        if not unzip.eof:
            raise BadMessageError("not a message: gzip is cut short")
        data = unzip.unused_data
    return bytes(unpacked)


def _fill(into: struct_pb2.Value, value: Json, path: str, levels: int) -> None:
    if levels <= 0:
        raise PayloadError(f"payload at {path[:200]}: nested too deeply")
    match value:
        case None:
            into.null_value = struct_pb2.NULL_VALUE
        case bool():
            into.bool_value = value
        case int() | float():
            into.number_value = _double(value, path)
        case str():
            into.string_value = _text(value, path)
        case Mapping():
            _fill_object(into.struct_value, value, path, levels - 3)
        case bytes() | bytearray():
            raise PayloadError(f"payload at {path}: bytes are not JSON. Remedy: send them as base64 text.")
        case Sequence():
            _fill_list(into.list_value, value, path, levels - 2)
        case _:
            raise PayloadError(f"payload at {path}: {type(value).__name__} is not JSON")


def _fill_object(into: struct_pb2.Struct, value: Mapping[Any, Json], path: str, levels: int) -> None:
    into.SetInParent()  # an empty object is still one
    for key, item in value.items():
        if not isinstance(key, str):
            raise PayloadError(f"payload at {path}: the key {key!r} is not text")
        _fill(into.fields[_text(key, path)], item, f"{path}.{key}", levels)


def _fill_list(into: struct_pb2.ListValue, value: Sequence[Json], path: str, levels: int) -> None:
    into.SetInParent()
    for index, item in enumerate(value):
        _fill(into.values.add(), item, f"{path}[{index}]", levels)


def _double(value: float, path: str) -> float:
    if not isinstance(value, int):
        if not math.isfinite(value):
            raise PayloadError(f"payload at {path}: {value} is not JSON")
        return value
    try:
        exact = int(float(value)) == value
    except OverflowError:
        exact = False
    if not exact:
        raise PayloadError(f"payload at {path}: integer too large for a double. Remedy: send it as text.")
    return float(value)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"payload at {path}: text that is not Unicode: {error.reason}") from error
    return value


def _plain(message: ProtobufMessage) -> Json:
    match message:
        case struct_pb2.Struct():
            return {key: _plain(item) for key, item in message.fields.items()}
        case struct_pb2.ListValue():
            return [_plain(item) for item in message.values]
        case struct_pb2.Value():
            kind = message.WhichOneof("kind")
            return None if kind in (None, "null_value") else _scalar(getattr(message, kind))
    return _scalar(message.value)  # type: ignore[attr-defined]  # a wrapper: it has this one field


def _scalar(value: Json) -> Json:
    match value:
        case ProtobufMessage():
            return _plain(value)
        case bytes():
            return _base64(value)
        case float():
            return _number(value)
    return value


def _number(value: float) -> int | float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() and abs(value) <= EXACT_INT else value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


TYPES: Mapping[str, type[ProtobufMessage]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        struct_pb2.Value,
        struct_pb2.Struct,
        struct_pb2.ListValue,
        wrappers_pb2.DoubleValue,
        wrappers_pb2.FloatValue,
        wrappers_pb2.Int64Value,
        wrappers_pb2.UInt64Value,
        wrappers_pb2.Int32Value,
        wrappers_pb2.UInt32Value,
        wrappers_pb2.BoolValue,
        wrappers_pb2.StringValue,
        wrappers_pb2.BytesValue,
    )
}
