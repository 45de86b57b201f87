"""Streams, buckets and object stores, on a real nats-server."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from nats.js import api
from nats.js.errors import APIError, BadRequestError, KeyNotFoundError

from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import (
    JetStreamError,
    KaiStreamError,
    MessagingError,
    NatsUnavailableError,
    NoStreamError,
)
from kai_airflow.messaging.streams import (
    HEADERS_ROOM,
    Retention,
    created,
    ensure_buckets,
    ensure_live_stream,
    ensure_object_store,
    ensure_run_stream,
    largest,
    seed_configuration,
    stream_names,
)
from kai_airflow.plan import names

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer, StartNats

RUNS = names.run_stream("shop", "train")
LIVE = names.live_stream("shop", "v1.0.0", "train")
BUCKETS = (
    names.global_bucket("shop"),
    names.version_bucket("shop", "v1.0.0"),
    names.workflow_bucket("shop", "v1.0.0", "train"),
    names.process_bucket("shop", "v1.0.0", "train", "splitter"),
)


async def test_a_run_stream_keeps_messages_by_age_and_size_on_disk(connection: Connection) -> None:
    await ensure_run_stream(connection.js, RUNS, Retention(max_age=60, max_bytes=1 << 20))
    config = (await connection.js.stream_info(RUNS)).config
    assert config.subjects == ["RUNS_shop_train.>"]
    assert (config.retention, config.storage, config.discard) == ("limits", "file", "old")
    assert (config.max_age, config.max_bytes, config.allow_direct) == (60, 1 << 20, True)


async def test_by_default_messages_stay_for_a_week_without_a_limit_of_size(connection: Connection) -> None:
    await ensure_run_stream(connection.js, RUNS)
    config = (await connection.js.stream_info(RUNS)).config
    assert (config.max_age, config.max_bytes) == (7 * 24 * 3600, -1)


async def test_a_live_stream_takes_in_each_process_and_channels_with_dots(connection: Connection) -> None:
    await ensure_live_stream(connection, LIVE, ["trigger", "splitter"])
    for subject in ("trigger", "splitter", "splitter.go", "splitter.features.hot.new"):
        await connection.js.publish(f"{LIVE}.{subject}", b"x", stream=LIVE)
    assert (await connection.js.stream_info(LIVE)).state.messages == 4


async def test_messages_stay_though_nobody_listens_and_though_they_were_acked(connection: Connection) -> None:
    await ensure_live_stream(connection, LIVE, ["trigger"])
    await connection.js.publish(f"{LIVE}.trigger", b"x")
    reader = await connection.js.pull_subscribe(f"{LIVE}.trigger", durable="reader", stream=LIVE)
    for message in await reader.fetch(1):
        await message.ack_sync()
    assert (await connection.js.stream_info(LIVE)).state.messages == 1


async def test_a_second_call_changes_nothing(connection: Connection) -> None:
    await ensure_run_stream(connection.js, RUNS, Retention(max_age=60))
    await ensure_live_stream(connection, LIVE, ["trigger", "splitter"])
    changes = await connection.nc.subscribe("$JS.EVENT.ADVISORY.STREAM.>")
    await connection.nc.flush()
    await ensure_run_stream(connection.js, RUNS, Retention(max_age=60))
    await ensure_live_stream(connection, LIVE, ["splitter", "trigger"])
    await connection.nc.flush()
    assert changes.pending_msgs == 0


async def test_other_subjects_and_limits_are_mended_and_the_messages_stay(connection: Connection) -> None:
    subjects = [f"{LIVE}.trigger", f"{LIVE}.trigger.*", f"{LIVE}.gone"]
    await connection.js.add_stream(name=LIVE, subjects=subjects)
    await connection.js.publish(f"{LIVE}.trigger", b"x")
    await ensure_live_stream(connection, LIVE, ["trigger", "splitter"], Retention(max_age=60))
    info = await connection.js.stream_info(LIVE)
    assert set(info.config.subjects or ()) == {
        f"{LIVE}.{name}" for name in ("trigger", "trigger.>", "splitter", "splitter.>", "BRIDGE.>")
    }
    assert (info.config.retention, info.config.max_age, info.state.messages) == ("limits", 60, 1)


async def test_a_live_stream_that_kai_made_is_refused_and_stays_as_it_is(connection: Connection) -> None:
    """KAI keeps its streams by interest, with one level of channels."""
    subjects = [f"{LIVE}.trigger", f"{LIVE}.trigger.*"]
    await connection.js.add_stream(name=LIVE, subjects=subjects, retention=api.RetentionPolicy.INTEREST)
    before = (await connection.js.stream_info(LIVE)).config
    with pytest.raises(KaiStreamError, match=rf"stream {LIVE} is KAI's.*Remedy: give the KRT another version"):
        await ensure_live_stream(connection, LIVE, ["trigger", "splitter"])
    assert (await connection.js.stream_info(LIVE)).config == before


async def test_what_the_administrator_set_besides_stays(connection: Connection) -> None:
    await connection.js.add_stream(name=RUNS, subjects=["other"], description="ours", max_msgs=7)
    await ensure_run_stream(connection.js, RUNS)
    config = (await connection.js.stream_info(RUNS)).config
    assert (config.description, config.max_msgs, config.subjects) == ("ours", 7, ["RUNS_shop_train.>"])


async def test_what_nats_cannot_change_is_an_error_and_the_stream_stays(connection: Connection) -> None:
    await connection.js.add_stream(name=RUNS, subjects=["x"], storage=api.StorageType.MEMORY)
    await connection.js.publish("x", b"kept")
    with pytest.raises(JetStreamError, match=r"RUNS_shop_train.*storage type.*Remedy: .*remove the stream"):
        await ensure_run_stream(connection.js, RUNS)
    assert (await connection.js.stream_info(RUNS)).state.messages == 1


async def test_subjects_that_another_stream_has_are_an_error_with_a_remedy(connection: Connection) -> None:
    await connection.js.add_stream(name="other", subjects=["RUNS_shop_train.a"])
    with pytest.raises(JetStreamError, match=r"RUNS_shop_train.*overlap.*Remedy: another stream"):
        await ensure_run_stream(connection.js, RUNS)


async def test_many_clients_may_make_the_same_things_at_once(start_nats: StartNats) -> None:
    url = start_nats().url

    async def client(number: int) -> None:
        async with connect(url, name=f"client {number}") as own:
            await ensure_run_stream(own.js, RUNS, Retention(max_age=60))
            await ensure_live_stream(own, LIVE, ["trigger"])
            await ensure_buckets(own.js, BUCKETS)
            await ensure_object_store(own.js, names.Bucket("shop_v1_0_0_models"))
            await seed_configuration(own.js, BUCKETS[0], {"key": "value"})

    await asyncio.gather(*(client(number) for number in range(8)))


async def test_creators_who_disagree_both_succeed(start_nats: StartNats) -> None:
    url = start_nats().url

    async def client(age: float) -> None:
        async with connect(url, name=f"client {age}") as own:
            await ensure_run_stream(own.js, RUNS, Retention(max_age=age))

    await asyncio.gather(*(client(60 + number) for number in range(8)))


async def test_buckets_can_be_used_and_a_second_call_keeps_what_they_hold(connection: Connection) -> None:
    await ensure_buckets(connection.js, BUCKETS)
    for bucket in BUCKETS:
        await (await connection.js.key_value(bucket)).put("key", b"value")
    await ensure_buckets(connection.js, BUCKETS)
    for bucket in BUCKETS:
        assert (await (await connection.js.key_value(bucket)).get("key")).value == b"value"


async def test_a_bucket_made_in_another_way_is_left_as_it_is(connection: Connection) -> None:
    await connection.js.create_key_value(bucket=BUCKETS[0], history=5)
    await ensure_buckets(connection.js, BUCKETS[:1])
    assert (await (await connection.js.key_value(BUCKETS[0])).status()).history == 5


async def test_an_object_store_can_be_used_and_a_second_call_keeps_what_it_holds(
    connection: Connection,
) -> None:
    bucket = names.object_store("shop", "v1.0.0", "train", "models", "workflow")
    await ensure_object_store(connection.js, bucket)
    await (await connection.js.object_store(bucket)).put("model", b"weights")
    await ensure_object_store(connection.js, bucket)
    assert (await (await connection.js.object_store(bucket)).get("model")).data == b"weights"


async def test_configuration_is_put_only_where_a_key_never_had_a_value(connection: Connection) -> None:
    await ensure_buckets(connection.js, BUCKETS)
    store = await connection.js.key_value(BUCKETS[0])
    await store.put("changed", b"by hand")
    await store.put("deleted", b"by hand")
    await store.delete("deleted")
    config = {"changed": "krt", "deleted": "krt", "new": "naïve", "dotted.key": ""}
    assert await seed_configuration(connection.js, BUCKETS[0], config) == ()
    assert (await store.get("changed")).value == b"by hand"
    assert (await store.get("new")).value == "naïve".encode()
    assert not (await store.get("dotted.key")).value
    with pytest.raises(KeyNotFoundError):
        await store.get("deleted")


async def test_keys_that_nats_does_not_allow_are_told_and_the_others_are_put(connection: Connection) -> None:
    await ensure_buckets(connection.js, BUCKETS)
    bad = ("with space", "", ".begin", "end.", "two..dots", "star*", "gt>", "ümlaut", "line\n")
    config = dict.fromkeys((*bad, "good"), "1")
    assert await seed_configuration(connection.js, BUCKETS[0], config) == bad
    assert await (await connection.js.key_value(BUCKETS[0])).keys() == ["good"]


async def test_configuration_for_a_missing_bucket_is_an_error_that_names_it(connection: Connection) -> None:
    with pytest.raises(JetStreamError, match="key-store_shop"):
        await seed_configuration(connection.js, BUCKETS[0], {"key": "value"})


async def test_a_configuration_value_that_is_too_large_is_an_error(connection: Connection) -> None:
    await ensure_buckets(connection.js, BUCKETS)
    with pytest.raises(MessagingError, match="key-store_shop"):
        await seed_configuration(connection.js, BUCKETS[0], {"key": "x" * (2 << 20)})


async def test_without_jetstream_the_error_says_how_to_switch_it_on(start_nats: StartNats) -> None:
    async with connect(start_nats(jetstream=False).url, name="test") as own:
        with pytest.raises(JetStreamError, match=r"make stream RUNS_shop_train.*nats-server -js"):
            await ensure_run_stream(own.js, RUNS)
        with pytest.raises(JetStreamError, match=r"bucket key-store_shop.*nats-server -js"):
            await ensure_buckets(own.js, BUCKETS)


async def test_an_account_without_jetstream_is_told_so(start_nats: StartNats) -> None:
    config = 'accounts { a { users: [{user: "u", password: "p"}] } }'
    server = start_nats(config)
    async with connect(f"nats://u:p@127.0.0.1:{server.port}", name="test") as own:
        with pytest.raises(JetStreamError, match="allow it for this account"):
            await ensure_run_stream(own.js, RUNS)


async def test_a_full_store_is_an_error_with_a_remedy(start_nats: StartNats) -> None:
    async with connect(start_nats("jetstream { max_file_store: 1MB }").url, name="test") as own:
        with pytest.raises(JetStreamError, match=r"insufficient storage.*Remedy: free space"):
            await ensure_run_stream(own.js, RUNS, Retention(max_bytes=2 << 20))


async def test_no_permission_for_jetstream_is_an_error_that_names_the_subject(start_nats: StartNats) -> None:
    config = 'authorization { users: [{user: "u", password: "p", permissions: {publish: "other"}}] }'
    server = start_nats(config)
    async with connect(f"nats://u:p@127.0.0.1:{server.port}", name="test") as own:
        impatient = own.nc.jetstream(timeout=0.5)
        with pytest.raises(NatsUnavailableError, match=r"may publish to \$JS\.API"):
            await ensure_run_stream(impatient, RUNS)


async def test_a_connection_that_is_gone_is_an_error(start_nats: StartNats) -> None:
    async with connect(start_nats().url, name="test") as own:
        await own.nc.close()
        with pytest.raises(NatsUnavailableError, match="RUNS_shop_train"):
            await ensure_run_stream(own.js, RUNS)


# KAI's own stream: nothing goes before its time, and who asks is told when it was made.


async def test_a_full_live_stream_refuses_what_is_new_and_keeps_what_it_took(connection: Connection) -> None:
    await ensure_live_stream(connection, LIVE, ["trigger"], Retention(max_bytes=100_000))
    taken = 0
    while (await connection.js.stream_info(LIVE)).state.bytes < 98_000:
        await connection.js.publish(f"{LIVE}.trigger", b"x" * 1000)
        taken += 1
    with pytest.raises(APIError, match="maximum bytes exceeded"):
        await connection.js.publish(f"{LIVE}.trigger", b"x" * 3000)
    state = (await connection.js.stream_info(LIVE)).state
    assert (state.messages, state.first_seq) == (taken, 1)
    assert 50 < taken < 100


async def test_a_full_run_stream_forgets_the_oldest(connection: Connection) -> None:
    await ensure_run_stream(connection.js, RUNS, Retention(max_bytes=100_000))
    for _ in range(200):
        await connection.js.publish(f"{RUNS}.x", b"x" * 1000)
    state = (await connection.js.stream_info(RUNS)).state
    assert state.first_seq > 100
    assert state.last_seq == 200


async def test_the_largest_message_of_a_live_stream_has_room_for_more_headers(connection: Connection) -> None:
    await ensure_live_stream(connection, LIVE, ["trigger"])
    limit = (await connection.js.stream_info(LIVE)).config.max_msg_size
    assert limit == largest(connection) == connection.max_payload - HEADERS_ROOM
    await connection.js.publish(f"{LIVE}.trigger", b"x" * limit)
    with pytest.raises(BadRequestError, match="message size exceeds"):
        await connection.js.publish(f"{LIVE}.trigger", b"x" * (limit + 1))
    await ensure_run_stream(connection.js, RUNS)
    headers = {"Header": "x" * (HEADERS_ROOM - 100)}
    await connection.js.publish(f"{RUNS}.x", b"x" * limit, headers=headers)


async def test_a_server_that_takes_little_still_takes_messages(start_nats: StartNats) -> None:
    async with connect(start_nats("max_payload: 8192").url, name="test") as own:
        await ensure_live_stream(own, LIVE, ["trigger"])
        assert (await own.js.stream_info(LIVE)).config.max_msg_size == 4096


async def test_a_lower_limit_that_the_administrator_set_stays(connection: Connection) -> None:
    await connection.js.add_stream(name=LIVE, subjects=[f"{LIVE}.trigger"], max_msg_size=5000)
    await ensure_live_stream(connection, LIVE, ["trigger"])
    assert (await connection.js.stream_info(LIVE)).config.max_msg_size == 5000


async def test_what_a_stream_keeps_is_mended_but_for_copies_that_nobody_asks_for(connection: Connection) -> None:
    await ensure_live_stream(connection, LIVE, ["trigger"], Retention(60, 1 << 20, 1))
    config = (await connection.js.stream_info(LIVE)).config
    assert (config.max_age, config.max_bytes, config.num_replicas) == (60, 1 << 20, 1)
    assert config.duplicate_window == 60
    await ensure_live_stream(connection, LIVE, ["trigger"], Retention(3600))
    config = (await connection.js.stream_info(LIVE)).config
    assert (config.max_age, config.max_bytes, config.num_replicas) == (3600, -1, 1)


async def test_more_copies_than_there_are_servers_are_an_error(connection: Connection) -> None:
    with pytest.raises(JetStreamError, match="make stream RUNS_shop_train"):
        await ensure_run_stream(connection.js, RUNS, Retention(replicas=3))


async def test_a_stream_made_anew_was_made_at_another_time(connection: Connection) -> None:
    moments = set()
    for _ in range(20):
        moments.add(await ensure_live_stream(connection, LIVE, ["trigger"]))
        assert await created(connection.js, LIVE) in moments
        await connection.js.delete_stream(LIVE)
    assert len(moments) == 20
    assert all(re.fullmatch(r"\d{8}T\d{12}Z", moment) for moment in moments)
    with pytest.raises(NoStreamError, match=r"no stream shop_v1_0_0_train\. Remedy"):
        await created(connection.js, LIVE)


async def test_a_stream_says_the_same_time_after_a_restart(nats_server: NatsServer, connection: Connection) -> None:
    moment = await ensure_live_stream(connection, LIVE, ["trigger"])
    nats_server.kill()
    nats_server.start()
    async with connect(nats_server.url, name="again") as again:
        assert await created(again.js, LIVE) == moment
        assert await ensure_live_stream(again, LIVE, ["trigger", "other"]) == moment


async def test_streams_are_found_by_their_subjects_over_all_pages(connection: Connection) -> None:
    """A page of names is 1024."""
    wanted = [names.live_stream("shop", f"v{n}.0.0", "train") for n in range(1100)]
    for begin in range(0, 1100, 100):
        await asyncio.gather(
            *(
                connection.js.add_stream(name=one, subjects=[names.bridge_subjects(one)], storage="memory")
                for one in wanted[begin : begin + 100]
            )
        )
    await connection.js.add_stream(name="other", subjects=["other.>"])
    await connection.js.add_stream(name="plain", subjects=["plain.x"])
    found = await stream_names(connection, "*.BRIDGE.>")
    assert sorted(found) == sorted([*wanted, "other"])
    assert await stream_names(connection, "nobody.x") == []
