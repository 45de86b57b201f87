"""Odd messages of a trigger, on a real nats-server: each becomes one run or one dead letter, and holds nobody up."""

from __future__ import annotations

import gzip
import random
import socket
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2

from kai_airflow.bridge.runs import deadletters
from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import MessageType
from kai_airflow.messaging.feed import hand_over
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Try
from kai_airflow.plan import names
from tests.bridge.parts import (
    STREAM,
    WORKFLOW,
    at_work,
    dead,
    each_once,
    ended_well,
    intake_of,
    message,
    prepared,
)

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import AirflowStub
    from tests.conftest import NatsServer

SUBJECT = names.output_subject(STREAM, "first")
CHANCE = random.Random(3)


def of(request_id: str, payload: codec.Payload | None = None, **more: object) -> bytes:
    return codec.encode(codec.Message(request_id, payload or codec.pack(1), **more), 1 << 20)  # type: ignore[arg-type]


RUNS: dict[str, bytes] = {
    "no request id": of(""),
    "a long request id": of("x" * 10_000),
    "a hostile request id": of("../a/b.c\r\nHeader: x\0\u2028 {{ conf }} ${x} %s"),
    "a request id of strange characters": of("\U000e0001" * 300),
    "an error": of("bad", type=MessageType.ERROR, error="failed"),
    "no payload": of("none", codec.Payload()),
    "another payload": of("other", codec.Payload("type.googleapis.com/x.Y", CHANCE.randbytes(100))),
    "a broken payload": of("broken", codec.Payload("type.googleapis.com/google.protobuf.Value", b"\xff" * 50)),
    "a NUL in a type": of("nul", codec.Payload("a\0b", CHANCE.randbytes(100_000))),
    "another protobuf that may be one of KAI's": struct_pb2.Value(string_value="x" * 100).SerializeToString(),
    "gzipped": gzip.compress(of("zipped")),
}
DEAD: dict[str, bytes] = {
    "empty": b"",
    "random": b"\xff" + CHANCE.randbytes(1000),
    "half a gzip": gzip.compress(of("zipped") * 100)[:-20],
    "a gzip of nothing": gzip.compress(b""),
    "a bomb": gzip.compress(b"\0" * (1 << 20)) * 300,
    "another protobuf": struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1.5)]).SerializeToString(),
    "a message type of nobody": b"\x28\x63",
}


@pytest.mark.parametrize("per_run", [1, 4])
async def test_each_odd_message_is_one_run_or_one_dead_letter_and_what_is_behind_goes_on(
    connection: Connection, airflow: Airflow, stub: AirflowStub, per_run: int
) -> None:
    source = await prepared(connection, airflow)
    dead_ones: list[int] = []
    good_ones: list[int] = []
    for name, data in [*DEAD.items(), *RUNS.items()] if per_run == 1 else mixed():
        ack = await connection.js.publish(SUBJECT, data)
        (dead_ones if name in DEAD else good_ones).append(ack.seq)
        good_ones.append((await connection.js.publish(SUBJECT, message(ack.seq))).seq)
    async with at_work(intake_of(connection, airflow, source, per_run).work()):
        await stub.until(lambda: len(stub.carried()) >= len(good_ones))
        await ended_well(connection, source)
    each_once(stub, good_ones)
    letters = await dead(connection)
    assert sorted(letter.sequence for letter in letters) == dead_ones
    assert all(letter.reason.startswith("not a message: ") and letter.attempts == 1 for letter in letters)


def mixed() -> list[tuple[str, bytes]]:
    items = [*DEAD.items(), *RUNS.items()]
    random.Random(1).shuffle(items)
    return items


async def test_one_request_id_twice_is_two_runs(connection: Connection, airflow: Airflow, stub: AirflowStub) -> None:
    source = await prepared(connection, airflow)
    for _ in range(2):
        await connection.js.publish(SUBJECT, of("same"))
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 2)
        await ended_well(connection, source)
    each_once(stub, [1, 2])


CHANNELS = ["go", "a.b.c", "größe", "日本.語", "x" * 1000, "a-_=+!@#$%^&()", "BRIDGE", "*x"]


async def test_a_message_on_any_channel_is_a_run_or_a_dead_letter_that_goes_back_there(
    connection: Connection, airflow: Airflow, stub: AirflowStub, nats_server: NatsServer
) -> None:
    source = await prepared(connection, airflow)
    for channel in CHANNELS:
        await connection.nc.publish(f"{SUBJECT}.{channel}", of("good"))
        await connection.nc.publish(f"{SUBJECT}.{channel}", b"\xff")
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == len(CHANNELS))
        await ended_well(connection, source)
        letters = await dead(connection)
        assert [letter.subject for letter in letters] == [f"{SUBJECT}.{channel}" for channel in CHANNELS]
        await ensure_run_stream(connection.js, WORKFLOW.run_stream)
        channels: dict[str, list[int]] = {}
        for n, run in enumerate(stub.started()):
            of_ = Try(WORKFLOW.run_stream, f"try-{n}", "first")
            channels |= await hand_over(connection, of_, Origin.from_conf(run.conf or {}))
        assert list(channels) == CHANNELS
        for letter in letters:
            await deadletters.redrive(connection, letter)
        await ended_well(connection, source)
        again = await dead(connection)
    assert [letter.subject for letter in again] == [letter.subject for letter in letters]
    assert [letter.attempts for letter in again] == [2] * len(CHANNELS)


@pytest.mark.parametrize("kind", ["random", "alike"])
async def test_the_largest_message_that_the_stream_takes_becomes_a_run_or_a_dead_letter(
    connection: Connection, airflow: Airflow, stub: AirflowStub, kind: str
) -> None:
    source = await prepared(connection, airflow)
    limit = (await connection.js.stream_info(STREAM)).config.max_msg_size
    assert limit is not None
    value = random.Random(1).randbytes(limit - 100) if kind == "random" else b"x" * (limit - 100)
    good = of("large", codec.Payload("x", value))
    await connection.js.publish(SUBJECT, good)
    # With the longest subject, whose form in a header takes three times its room.
    channel = "é" * 1800
    await connection.js.publish(f"{SUBJECT}.{channel}", b"\xff" + value[: limit - 300])
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 1)
        await ended_well(connection, source)
        (letter,) = await dead(connection)
        assert letter.subject == f"{SUBJECT}.{channel}"
        assert await deadletters.redrive(connection, letter) == 3
        await ended_well(connection, source)
    (run,) = stub.started()
    await ensure_run_stream(connection.js, WORKFLOW.run_stream)
    handed = await hand_over(connection, Try(WORKFLOW.run_stream, "try", "first"), Origin.from_conf(run.conf or {}))
    copy = await connection.js.get_msg(WORKFLOW.run_stream, handed[""][0])
    assert codec.decode(copy.data or b"") == codec.decode(good)


HEADERS: dict[str, bytes] = {
    "attempts": b"NATS/1.0\r\nKai-Airflow-Attempts: many\r\n\r\n",
    "huge attempts": b"NATS/1.0\r\nKai-Airflow-Attempts: " + b"9" * 5000 + b"\r\n\r\n",
    "a status": b"NATS/1.0 503\r\n\r\n",
    "a deleted consumer": b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    "no header": b"NATS/1.0\r\n\r\n",
    "no form": b"NATS/1.0\r\n:\r\nx\r\n: y\r\n\r\n",
    "no text": b"NATS/1.0\r\nKey: \xff\xfe\r\n\r\n",
    "lines": b"NATS/1.0\r\nKey: a\r\n b\r\n\tc\r\n\r\n",
}


@pytest.mark.parametrize("data", [b"\xff", b"", of("good")])
async def test_odd_headers_hold_nobody_up(
    connection: Connection, airflow: Airflow, stub: AirflowStub, nats_server: NatsServer, data: bytes
) -> None:
    source = await prepared(connection, airflow)
    say(nats_server, str(SUBJECT), data, *HEADERS.values())
    await connection.js.publish(SUBJECT, message(1))
    count = len(HEADERS) if len(data) > 1 else 0
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == count + 1)
        await ended_well(connection, source)
    letters = await dead(connection)
    assert [letter.sequence for letter in letters] == ([] if count else list(range(1, len(HEADERS) + 1)))
    assert all(letter.attempts == 1 for letter in letters)


def say(server: NatsServer, subject: str, data: bytes, *headers: bytes) -> None:
    """Publish with these bytes as headers, as no client would."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b'CONNECT {"verbose":false,"headers":true,"lang":"x","version":"1","protocol":1}\r\n')
        for one in headers:
            raw.sendall(
                b"HPUB %b %d %d\r\n" % (subject.encode(), len(one), len(one) + len(data)) + one + data + b"\r\n"
            )
        raw.sendall(b"PING\r\n")
        said = b""
        while b"PONG" not in said:
            said += raw.recv(4096)
        assert b"-ERR" not in said


@pytest.mark.parametrize("per_run", [1, 4])
@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"[]", b"{}", b'{"sequences": "1-99999999999", "request_ids": [], "preview": ""}']
)
async def test_a_record_that_no_bridge_wrote_holds_nobody_up(
    connection: Connection, airflow: Airflow, stub: AirflowStub, per_run: int, record: bytes
) -> None:
    """Any process of the workflow may publish there."""
    source = await prepared(connection, airflow)
    groups = names.groups_subject(STREAM, "first")
    sequences = [(await connection.js.publish(SUBJECT, message(1))).seq]
    await connection.js.publish(groups, record)
    sequences.append((await connection.js.publish(SUBJECT, message(2))).seq)
    async with at_work(intake_of(connection, airflow, source, per_run).work()):
        await stub.until(lambda: len(stub.carried()) == 2)
        await ended_well(connection, source)
    each_once(stub, sequences)
