"""Draining a try, on a real nats-server, with a process played by the test."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import MessageType
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.drain import draining
from kai_airflow.messaging.errors import NatsUnavailableError, ServerRestartedError
from kai_airflow.messaging.feed import feed, open_input
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Source, Try
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.drain import Drain
    from kai_airflow.messaging.feed import Share
    from kai_airflow.messaging.outputs import Complaint
    from tests.conftest import NatsServer

STREAM = names.run_stream("shop", "train")


def new_try(process: str = "training") -> Try:
    return Try(STREAM, str(uuid.uuid4()), process)


async def fed_try(connection: Connection, count: int) -> tuple[Try, Share]:
    await ensure_run_stream(connection.js, STREAM)
    upstream, of = new_try("splitter"), new_try()
    wanted = []
    for n in range(count):
        message = codec.Message(f"request-{n}", codec.pack(n), from_node="splitter")
        ack = await connection.js.publish(upstream.output, codec.encode(message, 1 << 20))
        wanted.append(Source(ack.seq, upstream.output))
    await open_input(connection, of)
    (share,) = await feed(connection, [of], wanted)
    return of, share


def complaints(drain: Drain) -> list[Complaint]:
    return [output.complaint for output in drain.outputs if output.complaint]


@asynccontextmanager
async def process_of(connection: Connection, of: Try) -> AsyncIterator[asyncio.Queue[Msg]]:
    """Binds as an SDK does."""
    received: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await connection.js.subscribe(
        of.input, queue=of.consumer, durable=of.consumer, cb=received.put, manual_ack=True, stream=STREAM
    )
    yield received
    await subscription.unsubscribe()


async def publish(connection: Connection, of: Try, request_id: str, channel: str = "", error: str = "") -> int:
    kind = MessageType.ERROR if error else MessageType.OK
    message = codec.Message(request_id, codec.pack("out"), error, of.process, kind)
    return (await connection.js.publish(of.subject(channel), codec.encode(message, 1 << 20))).seq


async def until_finished(drain: Drain) -> None:
    async with asyncio.timeout(20):
        while not (await drain.progress()).finished:
            await drain.changed()
        await drain.settled()


async def test_outputs_and_errors_of_each_channel_are_read_in_their_order(connection: Connection) -> None:
    of, share = await fed_try(connection, 3)
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        first = await publish(connection, of, "request-0", "go")
        await (await received.get()).ack()
        second = await publish(connection, of, "request-1", "features.hot.new")
        third = await publish(connection, of, "request-1")
        await (await received.get()).ack()
        await (await received.get()).ack()
        await publish(connection, of, "request-2", error="no such thing")
        await until_finished(drain)
    assert [(o.sequence, o.channel, o.request_id) for o in drain.outputs if not o.complaint] == [
        (first, "go", "request-0"),
        (second, "features.hot.new", "request-1"),
        (third, "", "request-1"),
    ]
    assert [(c.request_id, c.text) for c in complaints(drain)] == [("request-2", "no such thing")]


async def test_an_error_that_comes_after_the_last_ack_is_not_missed(connection: Connection) -> None:
    """The SDKs ack first and publish the error then (KAI reference, section 4)."""
    of, share = await fed_try(connection, 1)
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        await (await received.get()).ack_sync()
        assert (await drain.progress()).finished
        settled = asyncio.create_task(drain.settled())
        await publish(connection, of, "request-0", error="late")
        await settled
    assert [c.text for c in complaints(drain)] == ["late"]


async def test_nothing_of_another_try_is_taken_for_ours(connection: Connection) -> None:
    of, share = await fed_try(connection, 1)
    other = new_try()
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        await publish(connection, other, "stranger")
        await (await received.get()).ack()
        await until_finished(drain)
    assert drain.outputs == []


async def test_progress_tells_whether_a_process_has_subscribed_and_what_it_has_yet_to_ack(
    connection: Connection,
) -> None:
    of, share = await fed_try(connection, 2)
    async with draining(connection, share, connection.server_id) as drain:
        before = await drain.progress()
        assert not before.started
        assert not before.finished
        async with process_of(connection, of) as received:
            await (await received.get()).ack_sync()
            during = await drain.progress()
            assert during.started
            assert not during.finished
            await (await received.get()).ack_sync()
            assert (await drain.progress()).finished


async def test_a_try_is_never_finished_right_after_its_feed(connection: Connection) -> None:
    """The server counts what is pending a moment late."""
    for _ in range(100):
        _, share = await fed_try(connection, 1)
        async with draining(connection, share, connection.server_id) as drain:
            assert not (await drain.progress()).finished


async def test_an_ack_wakes_who_waits_for_a_change(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kai_airflow.messaging.drain._TICK_SECONDS", 3600)
    of, share = await fed_try(connection, 1)
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        message = await received.get()
        waiting = asyncio.create_task(drain.changed())
        await message.ack()
        async with asyncio.timeout(20):
            await waiting


async def test_what_cannot_be_read_counts_as_an_error_of_its_process(connection: Connection) -> None:
    of, share = await fed_try(connection, 1)
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        await connection.js.publish(of.output, b"\x1f\x8bbroken")
        await (await received.get()).ack()
        await until_finished(drain)
    (output,) = drain.outputs
    assert not output.readable
    assert "can't be read" in complaints(drain)[0].text


async def test_an_errors_text_is_bounded_and_on_one_line(connection: Connection) -> None:
    of, share = await fed_try(connection, 1)
    async with draining(connection, share, connection.server_id) as drain, process_of(connection, of) as received:
        await publish(connection, of, "id\nforged", error="first\nrequest other: forged " + "x" * 10_000)
        await (await received.get()).ack()
        await until_finished(drain)
    (complaint,) = complaints(drain)
    assert complaint.request_id == "id\\nforged"
    assert complaint.text.startswith("first\\nrequest other: forged xxx")
    assert complaint.text.endswith("more characters)")
    assert len(complaint.text) < 5000


async def test_a_restarted_server_breaks_the_try(nats_server: NatsServer) -> None:
    """Acks of the last moments before a crash are forgotten (design, section 3)."""
    async with connect(nats_server.url, name="test") as connection:
        _, share = await fed_try(connection, 1)
        async with draining(connection, share, connection.server_id) as drain:
            nats_server.kill()
            nats_server.start()
            with pytest.raises(ServerRestartedError, match="training"):
                await until_reachable(drain)


async def test_a_question_that_a_crash_swallows_is_asked_again(nats_server: NatsServer) -> None:
    async with connect(nats_server.url, name="test") as connection:
        _, share = await fed_try(connection, 1)
        before = connection.server_id
        async with draining(connection, share, before) as drain:
            nats_server.pause()
            asking = asyncio.create_task(drain.progress())
            await asyncio.sleep(0)
            nats_server.kill()
            nats_server.start()
            async with asyncio.timeout(8):  # JetStream's own answer may take ten
                with pytest.raises(ServerRestartedError):
                    await asking


async def until_reachable(drain: Drain) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await drain.progress()
            except NatsUnavailableError:
                await drain.changed()
