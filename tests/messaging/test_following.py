"""Messages of a stream, many at a time, whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging import following, pull
from kai_airflow.messaging.errors import NoStreamError
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.reading import microseconds, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.pull import Delivery
    from tests.conftest import NatsServer

STREAM = "A"


@pytest.fixture(autouse=True)
async def _stream(connection: Connection) -> None:
    await connection.js.add_stream(name=STREAM, subjects=["A.>"])


async def publish(connection: Connection, *numbers: int) -> None:
    """Message n is on one of three subjects, in turn."""
    for n in numbers:
        await connection.js.publish(f"A.{n % 3}", b"%d" % n, headers={"Number": str(n)})


async def kept(reader: Reader) -> list[Delivery]:
    return [one async for one in reader.kept()]


async def first(count: int, messages: AsyncIterator[Delivery]) -> list[Delivery]:
    found = []
    async for one in messages:
        found.append(one)
        if len(found) == count:
            break
    return found


async def consumers(connection: Connection) -> int:
    return len(await connection.js.consumers_info(STREAM))


async def test_what_a_stream_holds_comes_once_in_its_order_whatever_the_batch(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(connection, *range(1, 21))
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr(following, "BATCH", size)
        found = await kept(Reader(connection, STREAM, ["A.0", "A.1"]))
        assert [one.sequence for one in found] == [n for n in range(1, 21) if n % 3 != 2]
        assert [one.data for one in found] == [b"%d" % one.sequence for one in found]
        assert [one.headers["Number"] for one in found] == [str(one.sequence) for one in found]
    assert await consumers(connection) == 0


async def test_without_data_the_rest_is_the_same(connection: Connection) -> None:
    await publish(connection, 1, 2, 3)
    found = await kept(Reader(connection, STREAM, ["A.>"], bare=True))
    assert [(one.sequence, one.subject, one.data, one.headers["Number"]) for one in found] == [
        (n, f"A.{n % 3}", b"", str(n)) for n in (1, 2, 3)
    ]
    times = [await stored(connection, STREAM, n) for n in (1, 2, 3)]
    assert [one.published for one in found] == [microseconds(raw.time) for raw in times if raw]


async def test_nothing_there_is_nothing_at_once(connection: Connection) -> None:
    assert await kept(Reader(connection, STREAM, ["A.>"])) == []
    await publish(connection, 1)
    assert await kept(Reader(connection, STREAM, ["A.0"])) == []
    assert await kept(Reader(connection, STREAM, ["A.>"], after=1)) == []
    assert await kept(Reader(connection, STREAM, ["A.>"], since=datetime.now(UTC) + timedelta(hours=1))) == []


async def test_it_begins_behind_a_sequence_or_at_a_time(connection: Connection) -> None:
    await publish(connection, *range(1, 7))
    raw = await stored(connection, STREAM, 4)
    assert raw is not None
    assert [one.sequence for one in await kept(Reader(connection, STREAM, ["A.>"], after=4))] == [5, 6]
    assert [one.sequence for one in await kept(Reader(connection, STREAM, ["A.>"], since=raw.time))] == [4, 5, 6]


async def test_a_stream_that_is_not_there_is_an_error(connection: Connection) -> None:
    with pytest.raises(NoStreamError):
        await kept(Reader(connection, "B", ["B.>"]))


async def test_what_is_published_later_comes_as_well(connection: Connection) -> None:
    await publish(connection, 1, 2)
    async with aclosing(Reader(connection, STREAM, ["A.>"], after=1).coming()) as coming:
        assert [one.sequence for one in await first(1, coming)] == [2]
    later = asyncio.create_task(first(3, Reader(connection, STREAM, ["A.>"], after=1).coming()))
    await publish(connection, 3, 4)
    async with asyncio.timeout(20):
        assert [one.sequence for one in await later] == [2, 3, 4]


async def test_a_consumer_that_is_gone_is_made_anew_and_nothing_comes_twice(connection: Connection) -> None:
    await publish(connection, 1, 2)
    found: list[int] = []
    async with aclosing(Reader(connection, STREAM, ["A.>"]).coming()) as coming, asyncio.timeout(20):
        async for one in coming:
            found.append(one.sequence)
            if one.sequence == 2:
                (info,) = await connection.js.consumers_info(STREAM)
                await connection.js.delete_consumer(STREAM, info.name)
                await publish(connection, 3)
            if one.sequence == 3:
                break
    assert found == [1, 2, 3]


async def test_a_message_that_got_lost_on_its_way_is_asked_for_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the connection breaks while the server sends."""
    await publish(connection, *range(1, 6))
    whole, lost = pull.Pull.batch, [3]

    async def leaky(self: pull.Pull, most: int, linger: float = 0.0) -> list[Delivery]:
        came = await whole(self, most, linger)
        left = [one for one in came if one.sequence not in lost]
        if len(left) < len(came):
            lost.clear()
        return left

    monkeypatch.setattr(pull.Pull, "batch", leaky)
    assert [one.sequence for one in await kept(Reader(connection, STREAM, ["A.>"]))] == [1, 2, 3, 4, 5]
    assert not lost


async def test_a_server_that_crashes_meanwhile_loses_nothing(connection: Connection, nats_server: NatsServer) -> None:
    await publish(connection, 1)
    found: list[int] = []
    async with aclosing(Reader(connection, STREAM, ["A.>"]).coming()) as coming, asyncio.timeout(60):
        async for one in coming:
            found.append(one.sequence)
            if one.sequence == 1:
                mended = connection.breaks.mended
                nats_server.kill()
                nats_server.start()
                await mended.wait()
                await publish(connection, 2)
            else:
                break
    assert found == [1, 2]
