"""Which messages share a run, written down on a real nats-server."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.runs import groups
from kai_airflow.bridge.runs.groups import Groups
from kai_airflow.bridge.runs.requests import RunRequest
from kai_airflow.messaging.origin import Origin
from tests.bridge.parts import STREAM, prepared, publish

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection


@pytest.fixture
async def stream(connection: Connection, airflow: Airflow) -> str:
    return (await prepared(connection, airflow)).created


def request(created: str, *sequences: int) -> RunRequest:
    return RunRequest(Origin(STREAM, created, "first", sequences, 1), ("id",), "")


async def test_what_one_has_written_all_others_read(connection: Connection, stream: str) -> None:
    await publish(connection, 9)
    one, other = Groups(connection, STREAM, "first"), Groups(connection, STREAM, "first")
    assert await one.grouped(1) == set()
    assert await one.write(request(stream, 1, 2, 3))
    assert await one.write(request(stream, 5))
    assert await one.grouped(1) == {1, 2, 3, 5}
    assert await other.grouped(1) == {1, 2, 3, 5}
    assert await Groups(connection, STREAM, "second").grouped(1) == set()


async def test_who_has_not_seen_the_last_one_writes_none(connection: Connection, stream: str) -> None:
    await publish(connection, 9)
    one, other = Groups(connection, STREAM, "first"), Groups(connection, STREAM, "first")
    await one.grouped(1)
    await other.grouped(1)
    assert await one.write(request(stream, 1, 2))
    assert not await other.write(request(stream, 2, 3))
    assert await other.grouped(2) >= {2}
    assert await other.write(request(stream, 3))


async def test_of_many_who_write_at_once_no_two_have_one_message(connection: Connection, stream: str) -> None:
    await publish(connection, 200)

    async def write_all(seed: int) -> None:
        own, chance = Groups(connection, STREAM, "first"), random.Random(seed)
        left = list(range(1, 201))
        while left:
            grouped = await own.grouped(min(left))
            left = [n for n in left if n not in grouped]
            chosen = sorted(chance.sample(left, min(len(left), chance.randrange(1, 9))))
            if chosen:
                await own.write(request(stream, *chosen))

    await asyncio.gather(*(write_all(seed) for seed in range(4)))
    records = [await connection.js.get_msg(STREAM, 201 + n) for n in range(await count(connection) - 200)]
    carried = [n for raw in records for n in RunRequest.from_json(raw.data or b"").origin.sequences]
    assert sorted(carried) == list(range(1, 201))


async def count(connection: Connection) -> int:
    return (await connection.js.stream_info(STREAM)).state.messages


async def test_records_in_front_of_a_message_are_not_read_and_those_behind_it_all_are(
    connection: Connection, stream: str
) -> None:
    """A record stands behind its messages: of a million old ones a bridge that begins reads none."""
    one = Groups(connection, STREAM, "first")
    for n in range(20):
        (sequence,) = await publish(connection, 1)
        await one.grouped(sequence)
        assert await one.write(request(stream, sequence))
        assert sequence == 2 * n + 1
    asked = connection.nc.stats["out_msgs"]
    late = Groups(connection, STREAM, "first")
    assert await late.grouped(39) == {39}
    assert connection.nc.stats["out_msgs"] - asked < 8
    assert await late.grouped(35) >= {35, 37, 39}
    assert await late.grouped(1) == set(range(1, 40, 2))
    (new,) = await publish(connection, 1)
    fresh = Groups(connection, STREAM, "first")
    assert await fresh.grouped(new) == set()
    assert await fresh.write(request(stream, new))


async def test_a_last_record_that_has_expired_does_not_stop_the_next(connection: Connection, stream: str) -> None:
    await publish(connection, 3)
    one = Groups(connection, STREAM, "first")
    await one.grouped(1)
    assert await one.write(request(stream, 1))
    await connection.js.purge_stream(STREAM, seq=5)
    (sequence,) = await publish(connection, 1)
    for _ in range(2):
        await one.grouped(sequence)
        if await one.write(request(stream, sequence)):
            break
    else:
        pytest.fail("never written")
    assert sequence in await Groups(connection, STREAM, "first").grouped(sequence)


async def test_what_is_remembered_is_bounded_and_what_is_forgotten_is_read_again(
    connection: Connection, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST", 20)
    one = Groups(connection, STREAM, "first")
    written = []
    for _ in range(30):
        (sequence,) = await publish(connection, 1)
        await one.grouped(sequence)
        assert await one.write(request(stream, sequence))
        written.append(sequence)
        assert len(await one.grouped(sequence)) <= 22
    assert set(written) <= await one.grouped(1)
