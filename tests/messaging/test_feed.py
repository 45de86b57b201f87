"""Feeding a try, on a real nats-server."""

from __future__ import annotations

import asyncio
import gzip
import random
import uuid
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import BadMessageError, ExpiredError, FedTwiceError, MessageTooLargeError
from kai_airflow.messaging.feed import Fed, close_input, feed, open_input, opened_input, publish_first
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Channel, Manifest, Source, Try, sources
from kai_airflow.plan import names

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from kai_airflow.messaging.connection import Connection

STREAM = names.run_stream("shop", "train")
DAY = 22 * 3600


def new_try(process: str) -> Try:
    return Try(STREAM, str(uuid.uuid4()), process)


def message(request_id: str, payload: object = None) -> codec.Message:
    return codec.Message(request_id, codec.pack(payload), from_node="splitter")


async def published(connection: Connection, of: Try, *messages: codec.Message, channel: str = "") -> list[Source]:
    """What an upstream process left, as the sources of the next."""
    subject = of.subject(channel)
    found = []
    for one in messages:
        ack = await connection.js.publish(subject, codec.encode(one, connection.max_payload))
        found.append(Source(ack.seq, subject))
    return found


async def fed_texts(connection: Connection, of: Try) -> list[str]:
    """The request ids on a try's input, in their order."""
    state = (await connection.js.stream_info(STREAM, subjects_filter=of.input)).state
    count = (state.subjects or {}).get(of.input, 0)
    found, sequence = [], 0
    for _ in range(count):
        raw = await connection.js.get_msg(STREAM, sequence + 1, subject=of.input, next=True)
        sequence = raw.seq or 0
        found.append(codec.decode(raw.data or b"").request_id)
    return found


@pytest.fixture
async def upstream(connection: Connection) -> Try:
    await ensure_run_stream(connection.js, STREAM)
    return new_try("splitter")


async def test_messages_are_copied_in_their_order(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(20)])
    of = new_try("training")
    assert (await feed(connection, of, wanted)).count == 20
    assert await fed_texts(connection, of) == [str(n) for n in range(20)]


async def test_feeding_again_feeds_nothing_twice(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(5)])
    of = new_try("training")
    first = await feed(connection, of, wanted)
    assert await feed(connection, of, wanted) == first == Fed(5, wanted[-1].sequence + 5)
    assert await fed_texts(connection, of) == ["0", "1", "2", "3", "4"]


async def test_an_interrupted_feed_goes_on_where_it_stopped(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(5)])
    of = new_try("training")
    await feed(connection, of, wanted[:2])
    await feed(connection, of, wanted)
    assert await fed_texts(connection, of) == ["0", "1", "2", "3", "4"]


async def test_two_feeders_of_one_try_never_feed_a_message_twice(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(50)])
    of = new_try("training")
    ends = await asyncio.gather(*[feed(connection, of, wanted) for _ in range(3)], return_exceptions=True)
    assert all(isinstance(end, Fed | FedTwiceError) for end in ends)
    await feed(connection, of, wanted)
    assert await fed_texts(connection, of) == [str(n) for n in range(50)]


async def test_an_expired_message_is_an_error_and_never_left_out(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, message("a"), message("b"))
    await connection.js.delete_msg(STREAM, wanted[0].sequence)
    with pytest.raises(ExpiredError, match=f"no longer holds message {wanted[0].sequence}"):
        await feed(connection, new_try("training"), wanted)


async def test_a_stream_made_anew_is_told_from_the_one_that_held_the_messages(
    connection: Connection, upstream: Try
) -> None:
    wanted = await published(connection, upstream, message("a"))
    await connection.js.delete_stream(STREAM)
    await ensure_run_stream(connection.js, STREAM)
    await published(connection, new_try("splitter"), message("another run's"))
    with pytest.raises(ExpiredError):
        await feed(connection, new_try("training"), wanted)


@pytest.mark.parametrize("data", [b"\x1f\x8bbroken", gzip.compress(b"x")[:-4], b"\xff\xff\xff", b""])
async def test_a_message_that_would_crash_a_process_is_not_fed(
    connection: Connection, upstream: Try, data: bytes
) -> None:
    ack = await connection.js.publish(upstream.output, data, stream=STREAM)
    of = new_try("training")
    with pytest.raises(BadMessageError):
        await feed(connection, of, [Source(ack.seq, upstream.output)])
    assert await fed_texts(connection, of) == []


async def test_a_message_as_large_as_the_server_takes_is_still_fed(connection: Connection, upstream: Try) -> None:
    """A copy carries headers that its original didn't."""
    empty = len(codec.encode(message("big", ""), connection.max_payload))
    big = message("big", "x" * (connection.max_payload - empty - 16))
    assert connection.max_payload - 64 < len(codec.encode(big, connection.max_payload)) <= connection.max_payload
    wanted = await published(connection, upstream, big)
    of = new_try("training")
    await feed(connection, of, wanted)
    copy = await connection.js.get_last_msg(STREAM, of.input)
    assert codec.decode(copy.data or b"") == big


async def test_a_message_that_no_copy_has_room_for_is_a_clear_error(connection: Connection, upstream: Try) -> None:
    noise = random.Random(1).randbytes(connection.max_payload - 200).hex()[: connection.max_payload * 2]
    with pytest.raises(MessageTooLargeError, match="object store"):
        await publish_first(connection, upstream, message("noise", noise * 2))


async def test_a_process_that_binds_later_gets_what_was_fed_before_one_at_a_time(
    connection: Connection, upstream: Try
) -> None:
    wanted = await published(connection, upstream, message("a"), message("b"))
    of = new_try("training")
    await open_input(connection, of)
    await feed(connection, of, wanted)
    received: asyncio.Queue[Msg] = asyncio.Queue()
    await connection.js.subscribe(
        of.input, queue=of.consumer, durable=of.consumer, cb=received.put, manual_ack=True, stream=STREAM
    )
    async with asyncio.timeout(10):
        first = await received.get()
        assert codec.decode(first.data).request_id == "a"
        info = await connection.js.consumer_info(STREAM, of.consumer)
        assert (info.num_ack_pending, info.num_pending) == (1, 1)
        await first.ack()
        assert codec.decode((await received.get()).data).request_id == "b"


async def test_the_consumer_is_what_the_go_client_asks_for(connection: Connection, upstream: Try) -> None:
    """It refuses one that differs (KAI reference, section 4)."""
    of = new_try("training")
    await open_input(connection, of)
    config = (await connection.js.consumer_info(STREAM, of.consumer)).config
    assert of.consumer == f"{of.input}-training".replace(".", "-")
    assert (config.deliver_policy, config.ack_policy, config.ack_wait) == ("new", "explicit", DAY)
    assert config.deliver_group == config.durable_name == of.consumer


async def test_a_closed_input_is_gone_and_closing_it_again_is_fine(connection: Connection, upstream: Try) -> None:
    of = new_try("training")
    await open_input(connection, of)
    await close_input(connection, of)
    assert await connection.js.consumers_info(STREAM) == []
    await close_input(connection, of)


async def test_an_input_is_closed_even_where_the_try_fails(connection: Connection, upstream: Try) -> None:
    async def failing_try() -> None:
        async with opened_input(connection, new_try("training")):
            assert len(await connection.js.consumers_info(STREAM)) == 1
            raise RuntimeError("the try")

    with pytest.raises(RuntimeError, match="the try"):
        await failing_try()
    assert await connection.js.consumers_info(STREAM) == []


async def test_an_intakes_message_is_published_once_however_often_it_is_asked(
    connection: Connection, upstream: Try
) -> None:
    first = await publish_first(connection, upstream, message("a"))
    assert await publish_first(connection, upstream, message("a")) == first
    assert (await connection.js.stream_info(STREAM)).state.messages == 1


def test_sources_are_the_good_outputs_of_the_channels_asked_for_in_order() -> None:
    channels = {"": Channel((9,)), "go": Channel((3, 7)), "py": Channel((4,)), "features.hot": Channel((5,))}
    manifest = Manifest(STREAM, "id", "splitter", 1, 1, 0, channels)
    root = f"{STREAM}.id.splitter"
    assert sources(manifest, ["go", ""]) == [Source(3, f"{root}.go"), Source(7, f"{root}.go"), Source(9, root)]
    assert sources(manifest, ["features.hot"]) == [Source(5, f"{root}.features.hot")]
    assert sources(manifest, ["rust"]) == []
    assert Manifest.from_json(manifest.to_json()) == manifest
