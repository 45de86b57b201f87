"""Feeding a try, on a real nats-server."""

from __future__ import annotations

import asyncio
import gzip
import random
import uuid
from typing import TYPE_CHECKING

import pytest

from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import (
    BadMessageError,
    ExpiredError,
    FedTwiceError,
    MessageTooLargeError,
    NoStreamError,
)
from kai_airflow.messaging.feed import Share, close_input, fed, feed, hand_over, open_input, pass_on, publish_first
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.outputs import published as outputs_of
from kai_airflow.messaging.streams import ensure_live_stream, ensure_run_stream, largest
from kai_airflow.messaging.tries import Manifest, Source, Try, sources
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


async def feed_one(connection: Connection, of: Try, wanted: list[Source]) -> Share:
    """Feed a try that has no other beside it."""
    (share,) = await feed(connection, [of], wanted)
    return share


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
    assert (await feed_one(connection, of, wanted)).count == 20
    assert await fed_texts(connection, of) == [str(n) for n in range(20)]


async def test_feeding_again_feeds_nothing_twice(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(5)])
    of = new_try("training")
    first = await feed_one(connection, of, wanted)
    again = await feed_one(connection, of, wanted)
    assert again.inputs == first.inputs == (await fed(connection, of)).inputs
    assert [one.source for one in again.inputs] == [source.sequence for source in wanted]
    assert again.requests.text == first.requests.text
    assert await fed_texts(connection, of) == ["0", "1", "2", "3", "4"]


async def test_an_interrupted_feed_goes_on_where_it_stopped(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(5)])
    of = new_try("training")
    await feed_one(connection, of, wanted[:2])
    await feed_one(connection, of, wanted)
    assert await fed_texts(connection, of) == ["0", "1", "2", "3", "4"]


async def test_two_feeders_of_one_try_never_feed_a_message_twice(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, *[message(str(n)) for n in range(50)])
    of = new_try("training")
    ends = await asyncio.gather(*[feed_one(connection, of, wanted) for _ in range(3)], return_exceptions=True)
    assert all(isinstance(end, Share | FedTwiceError) for end in ends)
    await feed_one(connection, of, wanted)
    assert await fed_texts(connection, of) == [str(n) for n in range(50)]


async def test_an_expired_message_is_an_error_and_never_left_out(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, message("a"), message("b"))
    await connection.js.delete_msg(STREAM, wanted[0].sequence)
    with pytest.raises(ExpiredError, match=f"no longer holds message {wanted[0].sequence}"):
        await feed_one(connection, new_try("training"), wanted)


async def test_a_stream_made_anew_is_told_from_the_one_that_held_the_messages(
    connection: Connection, upstream: Try
) -> None:
    wanted = await published(connection, upstream, message("a"))
    await connection.js.delete_stream(STREAM)
    await ensure_run_stream(connection.js, STREAM)
    await published(connection, new_try("splitter"), message("another run's"))
    with pytest.raises(ExpiredError):
        await feed_one(connection, new_try("training"), wanted)


@pytest.mark.parametrize("data", [b"\x1f\x8bbroken", gzip.compress(b"x", mtime=0)[:-4], b"\xff\xff\xff", b""])
async def test_a_message_that_would_crash_a_process_is_not_fed(
    connection: Connection, upstream: Try, data: bytes
) -> None:
    ack = await connection.js.publish(upstream.output, data, stream=STREAM)
    of = new_try("training")
    with pytest.raises(BadMessageError):
        await feed_one(connection, of, [Source(ack.seq, upstream.output)])
    assert await fed_texts(connection, of) == []


async def test_a_message_as_large_as_the_server_takes_is_still_fed(connection: Connection, upstream: Try) -> None:
    """A copy carries headers that its original didn't."""
    empty = len(codec.encode(message("big", ""), connection.max_payload))
    big = message("big", "x" * (connection.max_payload - empty - 16))
    assert connection.max_payload - 64 < len(codec.encode(big, connection.max_payload)) <= connection.max_payload
    wanted = await published(connection, upstream, big)
    of = new_try("training")
    await feed_one(connection, of, wanted)
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
    await feed_one(connection, of, wanted)
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


async def test_an_intakes_message_is_published_once_however_often_it_is_asked(
    connection: Connection, upstream: Try
) -> None:
    first = await publish_first(connection, upstream, message("a"))
    assert await publish_first(connection, upstream, message("a")) == first
    assert (await connection.js.stream_info(STREAM)).state.messages == 1


async def test_requests_go_around_several_tries_and_their_messages_stay_together(
    connection: Connection, upstream: Try
) -> None:
    wanted = await published(connection, upstream, *[message(f"r{n % 7}", n) for n in range(21)])
    tries = [new_try("training") for _ in range(3)]
    shares = await feed(connection, tries, wanted)
    by_share = [{one.request_id for one in share.inputs} for share in shares]
    assert by_share == [{"r0", "r3", "r6"}, {"r1", "r4"}, {"r2", "r5"}]
    assert [share.count for share in shares] == [9, 6, 6]
    again = await feed(connection, tries, wanted)
    assert [share.inputs for share in again] == [share.inputs for share in shares]


async def test_more_tries_than_requests_leave_some_without(connection: Connection, upstream: Try) -> None:
    wanted = await published(connection, upstream, message("a"), message("a"))
    shares = await feed(connection, [new_try("training"), new_try("training")], wanted)
    assert [share.count for share in shares] == [2, 0]
    assert shares[1].last == 0


async def test_what_is_passed_on_is_what_was_fed_from_this_process_and_once(
    connection: Connection, upstream: Try
) -> None:
    of = new_try("training")
    await feed_one(connection, of, await published(connection, upstream, *[message(str(n), n) for n in range(5)]))
    await pass_on(connection, of)
    await pass_on(connection, of)
    outputs = await outputs_of(connection, of)
    assert [output.request_id for output in outputs] == ["0", "1", "2", "3", "4"]
    assert all(output.passed_on for output in outputs)
    last = codec.decode((await connection.js.get_last_msg(STREAM, of.output)).data or b"")
    assert (last.from_node, codec.unpack(last.payload)) == ("training", 4)


async def test_two_that_pass_on_the_same_never_double_a_message(connection: Connection, upstream: Try) -> None:
    of = new_try("training")
    await feed_one(connection, of, await published(connection, upstream, *[message(str(n)) for n in range(30)]))
    ends = await asyncio.gather(*[pass_on(connection, of) for _ in range(3)], return_exceptions=True)
    assert all(end is None or isinstance(end, FedTwiceError) for end in ends)
    await pass_on(connection, of)
    assert [output.request_id for output in await outputs_of(connection, of)] == [str(n) for n in range(30)]


async def test_a_very_long_request_id_is_told_from_others_that_begin_alike(
    connection: Connection, upstream: Try
) -> None:
    wanted = await published(connection, upstream, message("x" * 5000), message("x" * 5001))
    first, second = (await feed_one(connection, new_try("training"), wanted)).inputs
    assert first.request_id != second.request_id
    assert len(first.request_id) < 300


def test_sources_are_the_good_outputs_of_the_channels_asked_for_in_order() -> None:
    channels: dict[str, dict[str, tuple[int, ...]]] = {
        "": {"a": (9,)},
        "go": {"a": (3, 7), "b": (5,)},
        "py": {"a": (4,)},
        "features.hot": {"b": (6,)},
    }
    manifest = Manifest(STREAM, "splitter", 1, 1, 0, channels)
    first, second = f"{STREAM}.a.splitter", f"{STREAM}.b.splitter"
    assert sources(manifest, ["go", ""]) == [
        Source(3, f"{first}.go"),
        Source(5, f"{second}.go"),
        Source(7, f"{first}.go"),
        Source(9, first),
    ]
    assert sources(manifest, ["features.hot"]) == [Source(6, f"{second}.features.hot")]
    assert sources(manifest, ["rust"]) == []
    assert manifest.sequences == [3, 4, 5, 6, 7, 9]
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.to_json()["channels"]["go"] == {"count": 3, "sequences": {"a": "3,7", "b": "5"}}


# A trigger's messages go from KAI's stream to the run's.

LIVE = names.live_stream("shop", "v1.0.0", "train")


@pytest.fixture
async def created(connection: Connection) -> str:
    await ensure_run_stream(connection.js, STREAM)
    return await ensure_live_stream(connection, LIVE, ["trigger", "trigger2"])


async def said(connection: Connection, *channels: str, trigger: str = "trigger") -> tuple[int, ...]:
    """A message on each channel; where they stand."""
    subject = names.output_subject(LIVE, trigger)
    data = [codec.encode(message(f"r{n}", n), 1 << 20) for n in range(len(channels))]
    return tuple(
        [
            (await connection.js.publish(f"{subject}.{channel}" if channel else subject, data[n])).seq
            for n, channel in enumerate(channels)
        ]
    )


async def test_messages_are_handed_over_on_their_channels_in_their_order(connection: Connection, created: str) -> None:
    sequences = await said(connection, "", "go", "a.b.c", "", "größe", "go", "a")
    of = new_try("trigger")
    channels = await hand_over(connection, of, Origin(LIVE, created, "trigger", sequences, 1))
    assert {channel: len(copies) for channel, copies in channels.items()} == {
        "": 2,
        "go": 2,
        "a.b.c": 1,
        "größe": 1,
        "a": 1,
    }
    copies = sorted((n, channel) for channel, found in channels.items() for n in found)
    assert [channel for _, channel in copies] == ["", "go", "a.b.c", "", "größe", "go", "a"]
    for n, (sequence, channel) in enumerate(copies):
        raw = await connection.js.get_msg(STREAM, sequence)
        assert raw.subject == of.subject(channel)
        assert codec.decode(raw.data or b"") == message(f"r{n}", n)


async def test_a_run_that_is_cleared_is_handed_the_same_again(connection: Connection, created: str) -> None:
    origin = Origin(LIVE, created, "trigger", await said(connection, "", "go"), 1)
    first, second = [await hand_over(connection, new_try("trigger"), origin) for _ in range(2)]
    assert first.keys() == second.keys() == {"", "go"}
    assert first[""] != second[""]


async def test_what_has_expired_is_not_handed_over(connection: Connection, created: str) -> None:
    sequences = await said(connection, "", "", "")
    await connection.js.delete_msg(LIVE, sequences[1])
    with pytest.raises(ExpiredError, match=rf"stream {LIVE} no longer holds message {sequences[1]}"):
        await hand_over(connection, new_try("trigger"), Origin(LIVE, created, "trigger", sequences, 1))


async def test_a_stream_made_anew_hands_nothing_over_that_was_of_the_old_one(
    connection: Connection, created: str
) -> None:
    sequences = await said(connection, "")
    await connection.js.delete_stream(LIVE)
    with pytest.raises(NoStreamError):
        await hand_over(connection, new_try("trigger"), Origin(LIVE, created, "trigger", sequences, 1))
    await ensure_live_stream(connection, LIVE, ["trigger"])
    assert await said(connection, "") == sequences
    with pytest.raises(ExpiredError):
        await hand_over(connection, new_try("trigger"), Origin(LIVE, created, "trigger", sequences, 1))


async def test_messages_of_another_trigger_are_not_handed_over(connection: Connection, created: str) -> None:
    """Also of one whose name begins alike."""
    sequences = await said(connection, "", trigger="trigger2")
    with pytest.raises(ExpiredError):
        await hand_over(connection, new_try("trigger"), Origin(LIVE, created, "trigger", sequences, 1))


@pytest.mark.parametrize("packed", [False, True])
async def test_the_largest_message_is_handed_over(connection: Connection, created: str, packed: bool) -> None:
    data = codec.encode(
        codec.Message("large", codec.Payload("x", random.Random(1).randbytes(largest(connection) - 200))), 1 << 20
    )
    if packed:
        data = gzip.compress(codec.encode(codec.Message("large", codec.Payload("x", b"x" * (8 << 20))), 16 << 20))
    sequence = (await connection.js.publish(names.output_subject(LIVE, "trigger"), data)).seq
    channels = await hand_over(connection, new_try("trigger"), Origin(LIVE, created, "trigger", (sequence,), 1))
    copy = await connection.js.get_msg(STREAM, channels[""][0])
    assert codec.decode(copy.data or b"") == codec.decode(data)
