"""What a handler sends, on a real nats-server: it is on its way at once, and what becomes of it is told in the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.codec import decode, pack, unpack
from kai_airflow.messaging.errors import JetStreamError, MessagingError, NatsUnavailableError
from kai_airflow.messaging.publisher import publisher
from kai_airflow.process.outbox import ON_THEIR_WAY, Outbox
from kai_airflow.process.output import Output

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer

DEADLINE = 20.0
LIMIT = 1 << 20


@pytest.fixture
async def output(connection: Connection) -> Output:
    """That of process ``worker``, whose stream takes messages of 200 bytes."""
    await connection.js.add_stream(name="s", subjects=["s.>"], max_msg_size=200)
    return Output(await publisher(connection), "worker", "s.worker", LIMIT)


async def stored(connection: Connection) -> list[object]:
    count = (await connection.js.stream_info("s")).state.messages
    messages = [await connection.js.get_msg("s", sequence + 1) for sequence in range(count)]
    return [unpack(decode(message.data or b"").payload) for message in messages]


async def test_no_more_than_a_stream_takes_are_on_their_way(output: Output, nats_server: NatsServer) -> None:
    outbox = Outbox(output)
    nats_server.pause()
    for number in range(ON_THEIR_WAY):
        await outbox.put("r", "", pack(number))
    one_more = asyncio.ensure_future(outbox.put("r", "", pack("more")))
    done, _ = await asyncio.wait((one_more,), timeout=0.2)
    assert not done
    nats_server.go_on()
    async with asyncio.timeout(DEADLINE):
        await one_more
        await outbox.stored()


async def test_a_refusal_is_told_once_all_is_stored_however_much_came_behind_it(
    output: Output, connection: Connection
) -> None:
    outbox = Outbox(output)
    for value in ("x" * 300, "y" * 300, *range(ON_THEIR_WAY + 10)):
        await outbox.put("r", "", pack(value))
    with pytest.raises(JetStreamError, match="message size exceeds maximum allowed"):
        await outbox.stored()
    assert await stored(connection) == list(range(ON_THEIR_WAY + 10))


async def test_what_was_lost_is_told_though_the_handler_sent_it_again(output: Output, connection: Connection) -> None:
    outbox = Outbox(output)
    await connection.nc.close()
    for _ in range(2):
        with suppress(MessagingError):
            await outbox.put("r", "", pack("again"))
    with pytest.raises(NatsUnavailableError, match="cannot publish on"):
        await outbox.stored()


async def test_a_handler_that_gives_up_waiting_forgets_nothing(
    output: Output, connection: Connection, nats_server: NatsServer
) -> None:
    outbox = Outbox(output)
    nats_server.pause()
    for number in range(ON_THEIR_WAY + 1):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await outbox.put("r", "", pack(number))
    acking = asyncio.create_task(outbox.stored())
    done, _ = await asyncio.wait((acking,), timeout=0.2)
    assert not done
    nats_server.go_on()
    async with asyncio.timeout(DEADLINE):
        await acking
    assert await stored(connection) == list(range(ON_THEIR_WAY + 1))
