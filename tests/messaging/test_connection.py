"""Connecting, on a real nats-server."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging.connection import NatsAddress, connect, flush
from kai_airflow.messaging.errors import NatsUnavailableError

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer, StartNats

SECURED = 'authorization { user: "kai", password: "s3cret" }'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://host:4222", "nats://host:4222"),
        ("nats://kai:s3cret@host:4222", "nats://kai:***@host:4222"),
        ("nats://s3cret@host:4222", "nats://***@host:4222"),
        ("kai:s3cret@host", "kai:***@host"),
        ("nats://kai:s3cr@et@host", "nats://kai:***@host"),
        ("nats://a:s3cret@one:1, nats://b:s3cret@two:2", "nats://a:***@one:1,nats://b:***@two:2"),
    ],
)
def test_an_address_never_shows_a_secret(url: str, shown: str) -> None:
    assert str(NatsAddress(url)) == shown
    assert repr(NatsAddress(url)) == f"NatsAddress({shown!r})"


async def test_a_connection_knows_its_server_and_what_it_takes(connection: Connection) -> None:
    assert connection.max_payload == 1 << 20
    assert connection.server_id.startswith("N")


async def test_user_and_password_come_from_the_address(start_nats: StartNats) -> None:
    server = start_nats(SECURED)
    async with connect(f"nats://kai:s3cret@127.0.0.1:{server.port}", name="test") as own:
        await own.nc.flush()


async def test_a_wrong_password_is_refused_at_once_and_not_shown(start_nats: StartNats) -> None:
    server, begin = start_nats(SECURED), time.monotonic()
    with pytest.raises(NatsUnavailableError, match=r"kai:\*\*\*@.*refuses.*Authorization.*Remedy") as caught:
        async with connect(f"nats://kai:wr0ng@127.0.0.1:{server.port}", name="test"):
            pass
    assert "wr0ng" not in str(caught.value)
    assert time.monotonic() - begin < 2


async def test_where_nobody_answers_it_ends_in_time_and_says_where(start_nats: StartNats) -> None:
    server = start_nats()
    server.stop()
    begin = time.monotonic()
    with pytest.raises(NatsUnavailableError, match=rf"127\.0\.0\.1:{server.port} within 0\.5 s.*Remedy"):
        async with connect(server.url, name="test", timeout=0.5):
            pass
    assert time.monotonic() - begin < 3


async def test_a_server_that_is_only_just_starting_is_waited_for(start_nats: StartNats) -> None:
    server = start_nats()
    server.stop()

    async def use() -> None:
        async with connect(server.url, name="test", timeout=20) as own:
            await own.nc.flush()

    using = asyncio.create_task(use())
    await asyncio.to_thread(server.start)
    await using


@pytest.mark.parametrize("url", ["", "nats://", "nats://host:port", "nats://a,ws://b", "nats://[::1"])
async def test_an_address_that_makes_no_sense_is_an_error(url: str) -> None:
    with pytest.raises(NatsUnavailableError, match="Remedy"):
        async with connect(url, name="test", timeout=0.5):
            pass


async def test_something_else_at_the_address_is_an_error() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(NatsUnavailableError, match=f"127.0.0.1:{port}"):
            async with connect(f"nats://127.0.0.1:{port}", name="test", timeout=1):
                pass


async def test_it_reconnects_to_a_restarted_server_which_has_another_id(
    nats_server: NatsServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    before = connection.server_id
    await connection.js.add_stream(name="kept", subjects=["kept"])
    await connection.js.publish("kept", b"x")
    nats_server.kill()
    await asyncio.to_thread(nats_server.start)
    # Asked while the server may still be away, answered once it is back.
    assert (await connection.js.stream_info("kept")).state.messages == 1
    assert connection.server_id != before
    assert all(record.name.startswith("kai_airflow") for record in caplog.records)
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}


# nats-py leaves the socket of a refused reconnection to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*StreamWriter:pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_refuses_it_for_a_while_does_not_end_it(
    start_nats: StartNats, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_nats(SECURED)
    refused = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Refusals(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Authorization" in record.getMessage():
                loop.call_soon_threadsafe(refused.set)

    logger, refusals = logging.getLogger("kai_airflow"), Refusals()
    logger.addHandler(refusals)
    try:
        async with connect(f"nats://kai:s3cret@127.0.0.1:{server.port}", name="test") as own:
            await asyncio.to_thread(server.restart, 'authorization { user: "kai", password: "0ther" }')
            await asyncio.wait_for(refused.wait(), 20)
            await asyncio.to_thread(server.restart, SECURED)
            await own.js.account_info()
            assert not own.closed.is_set()
        assert own.closed.is_set()
    finally:
        logger.removeHandler(refusals)
        gc.collect()  # so that the warning ignored above comes here, not in some later test
    assert "s3cret" not in caplog.text


async def test_what_was_published_has_arrived_when_the_connection_is_closed(start_nats: StartNats) -> None:
    url = start_nats().url
    async with connect(url, name="reader") as reader:
        got = await reader.nc.subscribe("subject")
        await reader.nc.flush()
        async with connect(url, name="writer") as writer:
            for number in range(100):
                await writer.nc.publish("subject", str(number).encode())
        await reader.nc.flush()
        assert got.pending_msgs == 100


async def test_a_cancel_while_it_connects_is_never_lost(start_nats: StartNats) -> None:
    url = start_nats().url

    async def use() -> None:
        async with connect(url, name="test"):
            await asyncio.Event().wait()

    for turns in range(40):  # of the event loop: until well after it has connected
        using = asyncio.create_task(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(using), 5)


async def test_a_flush_waits_for_all_that_was_published(start_nats: StartNats) -> None:
    server = start_nats('authorization { users: [{ user: "u", password: "p", permissions: { publish: "other" } }] }')
    for _ in range(20):
        async with connect(server.url.replace("://", "://u:p@"), name="test") as own:
            await own.nc.publish("subject", b"refused")
            await flush(own.nc)
            assert own.nc.last_error is not None


async def test_closing_while_the_server_is_gone_takes_no_time(start_nats: StartNats) -> None:
    server = start_nats()
    async with connect(server.url, name="test") as own:
        server.kill()
        begin = time.monotonic()
        await own.nc.publish("subject", b"lost")
    assert time.monotonic() - begin < 5


async def test_nothing_is_left_running(start_nats: StartNats) -> None:
    before = asyncio.all_tasks()
    async with connect(start_nats().url, name="test") as own:
        await own.js.add_stream(name="stream", subjects=["subject"])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_flush_that_is_cancelled_leaves_a_connection_that_hears_on(start_nats: StartNats) -> None:
    async with connect(start_nats().url, name="test") as own:
        for turns in range(20):  # of the event loop: before its question, until after its answer
            flushing = asyncio.create_task(own.nc.flush())
            for _ in range(turns):
                await asyncio.sleep(0)
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
            async with asyncio.timeout(5):
                await own.js.account_info()
