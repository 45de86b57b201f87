"""Pulling, on a real nats-server: nothing waits in vain, nothing is left behind, and a silence is noticed."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import time
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from kai_airflow.messaging import pull
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import MessagingError, NoConsumerError, SilentError
from kai_airflow.messaging.pull import Pull, pulling
from kai_airflow.messaging.reading import microseconds
from tests.bridge.proxy import SwallowingProxy

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer

ACK_WAIT = 60.0


@pytest.fixture
async def consumer(connection: Connection) -> str:
    await connection.js.add_stream(name="stream", subjects=["s.>"])
    config = ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT, filter_subject="s.>")
    await connection.js.add_consumer("stream", config)
    return "c"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "EXPIRES", 0.5)
    monkeypatch.setattr(pull, "HEARTBEAT", 0.1)
    monkeypatch.setattr(pull, "SILENCE", 0.4)
    monkeypatch.setattr(pull, "ANSWER", 0.4)
    monkeypatch.setattr(pull, "REFUSED", 0.05)


async def publish(connection: Connection, *texts: str) -> None:
    for text in texts:
        await connection.js.publish("s.x", text.encode())


def texts(batch: list[pull.Delivery]) -> list[str]:
    return [one.data.decode() for one in batch]


async def test_what_is_there_is_taken_at_once_up_to_a_number(connection: Connection, consumer: str) -> None:
    await publish(connection, *map(str, range(10)))
    async with asyncio.timeout(5), pulling(connection, "stream", consumer) as pull_:
        assert texts(await pull_.batch(4)) == ["0", "1", "2", "3"]
        assert texts(await pull_.batch(1)) == ["4"]
        assert texts(await pull_.batch(100)) == ["5", "6", "7", "8", "9"]


async def test_a_message_that_comes_later_is_waited_for_and_more_are_for_a_moment(
    connection: Connection, consumer: str
) -> None:
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(3, linger=5))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await publish(connection, "a")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await publish(connection, "b", "c")
        assert texts(await waiting) == ["a", "b", "c"]
        begin = time.monotonic()
        await publish(connection, "d")
        assert texts(await pull_.batch(3, linger=0.2)) == ["d"]
        assert time.monotonic() - begin < 2


async def test_a_delivery_says_where_and_when_and_how_often(connection: Connection, consumer: str) -> None:
    await publish(connection, *map(str, range(300)))
    async with pulling(connection, "stream", consumer) as pull_:
        batch = await pull_.batch(300)
        assert [one.sequence for one in batch] == list(range(1, 301))
        for one in batch:
            stored = await connection.js.get_msg("stream", one.sequence)
            assert (one.published, one.subject, one.attempts) == (microseconds(stored.time), "s.x", 1)
        await pull_.hand_back(batch)
        again = await pull_.batch(300)
    assert [(one.sequence, one.attempts) for one in again] == [(n, 2) for n in range(1, 301)]


@pytest.mark.parametrize(
    ("reply", "sequence", "attempts", "published"),
    [
        ("$JS.ACK.stream.c.2.7.9.1700000000123456789.0", 7, 2, 1700000000123456),
        ("$JS.ACK.hub.acc.stream.c.2.7.9.1700000000123456789.0", 7, 2, 1700000000123456),
        ("$JS.ACK.hub.acc.stream.c.2.7.9.1700000000123456789.0.token", 7, 2, 1700000000123456),
    ],
)
def test_an_ack_subject_is_read_in_each_of_its_forms(reply: str, sequence: int, attempts: int, published: int) -> None:
    client = Client()
    found = pull.delivery(Msg(client, subject="s.x", reply=reply, data=b""))
    assert (found.sequence, found.attempts, found.published) == (sequence, attempts, published)


async def test_an_empty_message_is_one_whatever_its_headers_say(
    connection: Connection, consumer: str, nats_server: NatsServer
) -> None:
    """What a publisher writes into a header is no word of the server's."""
    for headers in (
        None,
        {"Status": "100"},
        {"Status": "404", "Description": "No Messages"},
        {"Status": "409", "Description": "Consumer Deleted"},
        {"Status": "503"},
    ):
        await connection.js.publish("s.x", b"", headers=headers)
    say(nats_server, b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 409 Consumer Deleted\r\n\r\n", b"NATS/1.0 100 Idle\r\n\r\n")
    await until(connection, 8)
    async with asyncio.timeout(5), pulling(connection, "stream", consumer) as pull_:
        found = await pull_.batch(3)
        while len(found) < 8:
            found += await pull_.batch(3)
    assert [one.sequence for one in found] == list(range(1, 9))


def say(server: NatsServer, *headers: bytes, data: bytes = b"") -> None:
    """Publish with these bytes as headers, as no client would."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b'CONNECT {"verbose":false,"headers":true,"lang":"x","version":"1","protocol":1}\r\n')
        for one in headers:
            raw.sendall(b"HPUB s.x %d %d\r\n%b%b\r\n" % (len(one), len(one) + len(data), one, data))
        raw.sendall(b"PING\r\n")
        said = b""
        while b"PONG" not in said:
            said += raw.recv(4096)
        assert b"-ERR" not in said


async def until(connection: Connection, count: int) -> None:
    async with asyncio.timeout(10):
        while (await connection.js.stream_info("stream")).state.messages < count:
            pass


@pytest.mark.usefixtures("quick")
async def test_a_question_that_expired_or_was_refused_is_asked_again(connection: Connection, consumer: str) -> None:
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(1))
        await asyncio.sleep(1.2)
        await publish(connection, "late")
        assert texts(await waiting) == ["late"]


async def test_no_consumer_is_an_error_at_once_and_so_is_one_that_goes(connection: Connection, consumer: str) -> None:
    async with pulling(connection, "stream", "nobody") as pull_:
        with pytest.raises(NoConsumerError, match=r"no consumer nobody"):
            await pull_.batch(1)
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(1))
        await asyncio.sleep(0.05)
        await connection.js.delete_consumer("stream", consumer)
        with pytest.raises(NoConsumerError):
            await waiting


async def test_a_consumer_that_goes_with_its_stream_is_an_error_at_once(connection: Connection, consumer: str) -> None:
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(1))
        await asyncio.sleep(0.05)
        await connection.js.delete_stream("stream")
        with pytest.raises(NoConsumerError):
            await waiting


@pytest.mark.usefixtures("quick")
async def test_a_server_that_says_nothing_is_noticed(
    connection: Connection, consumer: str, nats_server: NatsServer
) -> None:
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(1))
        await asyncio.sleep(0.3)
        nats_server.pause()
        with pytest.raises(SilentError, match="nothing was heard of stream stream"):
            async with asyncio.timeout(3):
                await waiting
    nats_server.kill()
    nats_server.start()


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_swallows_is_noticed(
    connection: Connection, consumer: str, nats_server: NatsServer
) -> None:
    async with (
        SwallowingProxy(nats_server.port).running() as proxy,
        connect(proxy.url, name="test") as through,
        pulling(through, "stream", consumer) as pull_,
    ):
        await publish(connection, "first")
        assert texts(await pull_.batch(1)) == ["first"]
        proxy.swallow()
        with pytest.raises(SilentError):
            async with asyncio.timeout(3):
                await pull_.batch(1)
        assert through.nc.is_connected


async def test_a_question_that_a_break_swallowed_is_asked_again(
    connection: Connection, consumer: str, nats_server: NatsServer
) -> None:
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(1))
        await asyncio.sleep(0.05)
        mended = connection.breaks.mended
        nats_server.kill()
        nats_server.start()
        async with asyncio.timeout(10):
            await mended.wait()
            await until(connection, 0)
            await publish(connection, "after")
            assert texts(await waiting) == ["after"]


async def test_what_a_cancelled_batch_had_is_handed_back(connection: Connection, consumer: str) -> None:
    """Whoever asks next has it at once, not when the server's patience is at its end."""
    await publish(connection, "a", "b", "c")
    async with pulling(connection, "stream", consumer) as pull_:
        waiting = asyncio.create_task(pull_.batch(10, linger=30))
        while (await connection.js.consumer_info("stream", consumer)).num_ack_pending < 3:
            pass
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), pulling(connection, "stream", consumer) as pull_:
        found = await pull_.batch(3)
        while len(found) < 3:
            found += await pull_.batch(3)
        assert sorted(texts(found)) == ["a", "b", "c"]


async def test_what_is_handed_back_comes_before_what_is_new(connection: Connection, consumer: str) -> None:
    await publish(connection, *map(str, range(2000)))
    chance = random.Random(1)
    done: list[int] = []
    left = 1
    async with asyncio.timeout(30), pulling(connection, "stream", consumer) as pull_:
        while len(done) < 2000:
            batch = await pull_.batch(chance.randrange(left, left + 20))
            kept = chance.randrange(len(batch) + 1)
            for one in batch[:kept]:
                done.append(one.sequence)
                await pull_.ack(one)
            await pull_.hand_back(batch[kept:])
            left = max(1, len(batch) - kept)
    assert done == list(range(1, 2001))


async def test_what_comes_too_late_is_in_the_next_batch_once(connection: Connection, consumer: str) -> None:
    await publish(connection, "a", "b")
    async with pulling(connection, "stream", consumer) as pull_:
        await ask_beyond(pull_)
        assert sorted(texts([*await pull_.batch(1), *await pull_.batch(1)])) == ["a", "b"]
        assert (await connection.js.consumer_info("stream", consumer)).num_ack_pending == 2


async def ask_beyond(pull_: Pull) -> None:
    await pull_._ask({"batch": 1, "no_wait": True})
    async with asyncio.timeout(5):
        while not pull_.heard:
            await pull_.connection.nc.flush()


async def test_a_thousand_breaks_leave_nothing_behind(
    connection: Connection, consumer: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task, no subscription, no future: argo-events' reconnects leaked all of them."""
    monkeypatch.setattr("kai_airflow.messaging.connection.RECONNECT_WAIT", 0)
    async with (
        SwallowingProxy(nats_server.port).running() as proxy,
        connect(proxy.url, name="test") as through,
    ):
        async with pulling(through, "stream", consumer) as pull_:
            waiting = asyncio.create_task(pull_.batch(1))

            async def breaks(count: int) -> None:
                for _ in range(count):
                    mended = through.breaks.mended
                    await through.nc.force_reconnect()
                    async with asyncio.timeout(10):
                        await mended.wait()
                    assert not waiting.done()

            await breaks(20)
            gc.collect()
            tasks, objects = len(asyncio.all_tasks()), len(gc.get_objects())
            await breaks(1000)
            gc.collect()
            assert len(asyncio.all_tasks()) <= tasks + 2
            assert len(through.nc._subs) == 1
            assert len(gc.get_objects()) < objects + 3000
            await publish(connection, "still there")
            async with asyncio.timeout(10):
                assert texts(await waiting) == ["still there"]
        assert len(through.nc._subs) == 0


async def test_an_answer_over_a_lost_connection_is_an_error(connection: Connection, consumer: str) -> None:
    await publish(connection, "a")
    async with pulling(connection, "stream", consumer) as pull_:
        (one,) = await pull_.batch(1)
        await connection.nc.close()
        with pytest.raises(MessagingError, match="answer for message 1 of stream"):
            await pull_.ack(one)
