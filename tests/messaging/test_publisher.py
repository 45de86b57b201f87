"""Publishing without waiting, on a real nats-server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.errors import JetStreamError, NatsUnavailableError
from kai_airflow.messaging.publisher import Publisher, publisher

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


async def test_who_blocks_the_event_loop_for_longer_still_hears_the_answer(publishing: Publisher) -> None:
    message = await publishing.begin("taken", b"x")
    asyncio.get_running_loop().call_later(0.05, time.sleep, 0.5)
    await message.stored(0.4)


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


async def test_what_is_begun_while_the_server_is_away_waits_for_it(
    publishing: Publisher, connection: Connection, nats_server: NatsServer
) -> None:
    """However much it is; the client alone would hold 2 MB."""
    await asyncio.to_thread(nats_server.kill)
    async with asyncio.timeout(DEADLINE):
        while connection.nc.is_connected:  # noqa: ASYNC110  # the client tells of a reconnect alone
            await asyncio.sleep(0)
    begun = [asyncio.create_task(publishing.begin("taken", bytes(900_000))) for _ in range(4)]
    with pytest.raises(NatsUnavailableError, match="no answer in time"):
        await publishing.begin("taken", b"x", 0.1)
    assert not any(one.done() for one in begun)
    await asyncio.to_thread(nats_server.start)
    async with asyncio.timeout(DEADLINE):
        for one in begun:
            await (await one).stored()
    assert await stored(connection, "taken") == 4
