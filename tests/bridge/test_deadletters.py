"""Dead letters, on a real nats-server: kept once, shown, sent on their way again once, dropped."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.runs import deadletters
from kai_airflow.bridge.runs.deadletters import LONGEST_REASON, NoDeadLetterError, bury, drop, found, redrive
from kai_airflow.messaging.errors import JetStreamError
from kai_airflow.plan import names
from tests.bridge.parts import STREAM, dead, message, prepared, publish

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection


@pytest.fixture
async def created(connection: Connection, airflow: Airflow) -> str:
    return (await prepared(connection, airflow)).created


async def test_a_message_is_kept_once_with_where_it_was_and_why_it_died(connection: Connection, created: str) -> None:
    await publish(connection, 3)
    for reason in ("first\nreason: ünglück", "second"):
        await bury(connection, STREAM, created, 2, reason=reason, attempts=4)
    (letter,) = await dead(connection)
    assert (letter.stream, letter.created, letter.sequence) == (STREAM, created, 2)
    assert (letter.subject, letter.attempts, letter.data) == (f"{STREAM}.first", 4, message(1))
    assert letter.reason == r"first reason: \xfcngl\xfcck"
    said = json.loads(json.dumps(letter.as_dict()))
    assert (said["bytes"], "data" in said) == (len(message(1)), False)
    assert await found(connection, letter.number) == letter


async def test_many_who_bury_one_message_keep_it_once(connection: Connection, created: str) -> None:
    await publish(connection, 1)
    await asyncio.gather(*(bury(connection, STREAM, created, 1, reason="r", attempts=1) for _ in range(20)))
    assert len(await dead(connection)) == 1


async def test_a_reason_is_cut_and_cannot_forge_a_header(connection: Connection, created: str) -> None:
    await publish(connection, 2)
    await bury(connection, STREAM, created, 1, reason="x" * 10_000, attempts=1)
    await bury(connection, STREAM, created, 2, reason="x\r\nKai-Airflow-Sequence: 99\0\u2028", attempts=1)
    first, second = await dead(connection)
    assert len(first.reason) == LONGEST_REASON
    assert second.sequence == 2


async def test_what_has_expired_is_not_kept(connection: Connection, created: str) -> None:
    await bury(connection, STREAM, created, 7, reason="r", attempts=1)
    assert await dead(connection) == []


async def test_those_of_one_stream_are_listed_alone_and_the_oldest_first(connection: Connection, created: str) -> None:
    await publish(connection, 120)
    for n in range(120):
        await bury(connection, STREAM, created, n + 1, reason="r", attempts=1)
    own = [letter.sequence async for letter in deadletters.listed(connection, STREAM)]
    assert own == list(range(1, 121))
    assert [letter async for letter in deadletters.listed(connection, "other")] == []


async def test_one_that_is_sent_again_is_a_new_message_where_it_was_and_is_dropped(
    connection: Connection, created: str
) -> None:
    await connection.js.publish(f"{STREAM}.first.a.größe", b"\xff")
    await bury(connection, STREAM, created, 1, reason="r", attempts=3)
    (letter,) = await dead(connection)
    sequence = await redrive(connection, letter)
    again = await connection.js.get_msg(STREAM, sequence)
    assert (again.subject, again.data) == (f"{STREAM}.first.a.größe", b"\xff")
    assert await dead(connection) == []
    # It dies again, and remembers how often it was tried before.
    await bury(connection, STREAM, created, sequence, reason="r", attempts=2)
    (letter,) = await dead(connection)
    assert letter.attempts == 5


async def test_one_that_was_sent_again_and_not_dropped_is_sent_once(connection: Connection, created: str) -> None:
    """The command was cut off in between."""
    await publish(connection, 1)
    await bury(connection, STREAM, created, 1, reason="r", attempts=1)
    (letter,) = await dead(connection)
    first = await redrive(connection, letter)
    assert await redrive(connection, letter) == first


async def test_one_whose_stream_is_gone_stays(connection: Connection, created: str) -> None:
    await publish(connection, 1)
    await bury(connection, STREAM, created, 1, reason="r", attempts=1)
    await connection.js.delete_stream(STREAM)
    (letter,) = await dead(connection)
    with pytest.raises(JetStreamError, match="dead letter 1"):
        await redrive(connection, letter)
    assert await dead(connection) == [letter]


async def test_one_that_is_dropped_is_gone_and_dropping_it_again_is_fine(connection: Connection, created: str) -> None:
    await publish(connection, 1)
    await bury(connection, STREAM, created, 1, reason="r", attempts=1)
    (letter,) = await dead(connection)
    await drop(connection, letter)
    await drop(connection, letter)
    with pytest.raises(NoDeadLetterError, match=r"no dead letter 1. Remedy: kai-airflow deadletters list"):
        await found(connection, 1)


async def test_what_others_put_there_is_listed_and_hides_nothing(connection: Connection, created: str) -> None:
    await publish(connection, 1)
    headers = {deadletters.SEQUENCE: "x", deadletters.ATTEMPTS: "-1", deadletters.SUBJECT: "%zz"}
    await connection.js.publish(f"{names.DEAD_LETTERS}.x.y.z", b"junk", headers=headers)
    await bury(connection, STREAM, created, 1, reason="r", attempts=1)
    junk, letter = await dead(connection)
    assert (junk.sequence, junk.attempts, junk.data) == (0, 0, b"junk")
    assert letter.sequence == 1
    await drop(connection, junk)
    assert await dead(connection) == [letter]
