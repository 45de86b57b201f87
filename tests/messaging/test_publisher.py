"""Publishing without waiting, on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.errors import JetStreamError, NatsUnavailableError
from kai_airflow.messaging.publisher import ON_THEIR_WAY, Publisher, publisher

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer

DEADLINE = 20.0


@pytest.fixture
async def publishing(connection: Connection) -> Publisher:
    """One with a stream for ``taken`` and one for ``tight``, whose messages have five bytes at most."""
    await connection.js.add_stream(name="taken", subjects=["taken"])
    await connection.js.add_stream(name="tight", subjects=["tight"], max_msg_size=5)
    return await publisher(connection)


async def stored(connection: Connection, stream: str) -> int:
    return (await connection.js.stream_info(stream)).state.messages


async def test_messages_are_stored_in_the_order_in_which_they_were_begun(
    publishing: Publisher, connection: Connection
) -> None:
    begun = [await publishing.begin("taken", str(number).encode()) for number in range(1000)]
    for one in begun:
        await one.stored()
    kept = [await connection.js.get_msg("taken", sequence) for sequence in (1, 2, 500, 1000)]
    assert [message.data for message in kept] == [b"0", b"1", b"499", b"999"]
    assert await stored(connection, "taken") == 1000


async def test_a_message_that_a_stream_refuses_says_so_and_those_around_it_are_stored(
    publishing: Publisher, connection: Connection
) -> None:
    small, large, again = [await publishing.begin("tight", data) for data in (b"1", b"123456", b"2")]
    await small.stored()
    with pytest.raises(JetStreamError, match="cannot publish on tight: message size exceeds maximum allowed"):
        await large.stored()
    await again.stored()
    assert await stored(connection, "tight") == 2


async def test_a_subject_without_a_stream_is_an_error(publishing: Publisher) -> None:
    with pytest.raises(JetStreamError, match="cannot publish on nobody"):
        await (await publishing.begin("nobody", b"x")).stored()


async def test_without_an_answer_in_time_it_is_an_error(publishing: Publisher, nats_server: NatsServer) -> None:
    nats_server.pause()
    with pytest.raises(NatsUnavailableError, match="cannot publish on taken: no answer in time"):
        await (await publishing.begin("taken", b"x")).stored(0.1)


async def test_on_a_closed_connection_it_is_an_error(publishing: Publisher, connection: Connection) -> None:
    await connection.nc.close()
    with pytest.raises(NatsUnavailableError, match="cannot publish on taken"):
        await publishing.begin("taken", b"x")


async def test_it_waits_while_too_many_are_on_their_way(
    publishing: Publisher, connection: Connection, nats_server: NatsServer
) -> None:
    nats_server.pause()
    begun = [await publishing.begin("taken", b"x") for _ in range(ON_THEIR_WAY)]
    one_more = asyncio.create_task(publishing.begin("taken", b"x"))
    done, _ = await asyncio.wait((one_more,), timeout=0.2)
    assert not done
    nats_server.go_on()
    async with asyncio.timeout(DEADLINE):
        begun.append(await one_more)
    for one in begun:
        await one.stored()
    assert await stored(connection, "taken") == ON_THEIR_WAY + 1


async def test_what_was_refused_given_up_or_cancelled_leaves_its_room_to_others(
    publishing: Publisher, nats_server: NatsServer
) -> None:
    for _ in range(ON_THEIR_WAY):
        with pytest.raises(JetStreamError):
            await (await publishing.begin("tight", b"123456")).stored()
    nats_server.pause()
    given_up = [await publishing.begin("taken", b"x") for _ in range(ON_THEIR_WAY)]
    waiting = [asyncio.create_task(one.stored()) for one in given_up[1:]]
    await asyncio.sleep(0)  # each has begun to wait
    for one in waiting:
        one.cancel()
    with pytest.raises(NatsUnavailableError):
        await given_up[0].stored(0.1)
    async with asyncio.timeout(1):
        later = [await publishing.begin("taken", b"y") for _ in range(ON_THEIR_WAY)]
    nats_server.go_on()
    for message in later:
        await message.stored()


async def test_after_a_crash_of_the_server_it_publishes_as_before(
    publishing: Publisher, connection: Connection, nats_server: NatsServer
) -> None:
    await (await publishing.begin("taken", b"before")).stored()
    mended = connection.breaks.mended
    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)
    async with asyncio.timeout(DEADLINE):
        await mended.wait()
    await (await publishing.begin("taken", b"after")).stored()
    assert await stored(connection, "taken") == 2
