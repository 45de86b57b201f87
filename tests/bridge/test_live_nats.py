"""The NATS side of long-lived processes: a real nats-server, and real processes that are killed."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from kai_airflow.bridge.lifecycle.waiting import waiting
from kai_airflow.bridge.live import nats_side as live_nats
from kai_airflow.bridge.live.nats_side import LiveNats
from kai_airflow.messaging.codec import decode
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.consumers import IN_HAND, listed
from kai_airflow.messaging.errors import JetStreamError
from kai_airflow.messaging.following import Reader
from kai_airflow.plan import names
from tests.bridge.parts import STREAM, WORKFLOW, at_work, prepared, publish, serving
from tests.streaming import consumer_of, labels_of, process_of, started, streaming

if TYPE_CHECKING:
    from nats.js.api import ConsumerInfo

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow
    from tests.conftest import LiveWorkflow, NatsServer, StartNats

LISTENING = streaming()
HEARD = consumer_of(LISTENING, "worker")
LABELS = labels_of(LISTENING, "worker")


@pytest.fixture
async def nats(live: LiveWorkflow) -> LiveNats:
    """The workflow with all that its processes bind to."""
    return await prepared_for(live, LISTENING)


async def prepared_for(live: LiveWorkflow, workflow: Workflow) -> LiveNats:
    """With a connection that has been well for so long that who doesn't listen has ended."""
    nats = LiveNats(live.connection)
    live.connection.breaks.made -= live_nats.AWAY
    for process in workflow.processes:
        await nats.prepare(workflow, process)
    return nats


async def info_of(connection: Connection, consumer: str = HEARD) -> ConsumerInfo:
    found: ConsumerInfo = await connection.js.consumer_info(LISTENING.live_stream, consumer)
    return found


async def until(connection: Connection, consumer: str = HEARD, *, bound: bool, in_hand: int | None = None) -> None:
    """Until somebody listens on a consumer, or nobody; with so many in hand."""
    async with asyncio.timeout(20):
        while True:
            info = await info_of(connection, consumer)
            if bool(info.push_bound) == bound and in_hand in (None, info.num_ack_pending):
                return


async def answered(live: LiveWorkflow) -> Counter[str]:
    """How many outputs of the worker each request has."""
    subject = names.output_subject(live.stream, "worker")
    return Counter(
        [decode(one.data).request_id async for one in Reader(live.connection, live.stream, [subject]).kept()]
    )


async def all_acked(connection: Connection) -> None:
    async with asyncio.timeout(30):
        while pending := (await info_of(connection)).num_pending or (await info_of(connection)).num_ack_pending:
            assert pending >= 0


async def test_consumers_are_made_as_the_sdks_bind_to_them(nats: LiveNats, live: LiveWorkflow) -> None:
    found = {info.name: info.config for info in await listed(live.connection, live.stream)}
    assert set(found) == {"shop_v1_0_0_train-trigger-worker", "shop_v1_0_0_train-worker-out"}
    config = found[HEARD]
    assert (config.deliver_subject, config.deliver_group) == (f"_INBOX.{HEARD}", HEARD)
    assert (config.deliver_policy, config.ack_policy, config.ack_wait) == ("new", "explicit", 22 * 3600)
    assert (config.filter_subject, config.max_ack_pending) == (f"{live.stream}.trigger", IN_HAND)


async def test_replicas_may_have_more_in_hand(live: LiveWorkflow) -> None:
    await prepared_for(live, streaming(replicas=3))
    assert (await info_of(live.connection)).config.max_ack_pending == 3 * IN_HAND


async def test_preparing_again_changes_nothing_that_somebody_listens_on(nats: LiveNats, live: LiveWorkflow) -> None:
    before = await info_of(live.connection)
    await started(live)
    await nats.prepare(LISTENING, process_of(LISTENING, "worker"))
    after = await info_of(live.connection)
    assert (after.created, after.config) == (before.created, before.config)


async def test_a_consumer_that_kais_own_sdk_has_made_is_taken_over_as_it_is_bound(live: LiveWorkflow) -> None:
    await live.prepare(["trigger", "worker", "out"])
    await started(live)  # makes it, as there is none
    await prepared_for(live, LISTENING)
    await live.send("trigger", 1, "r1")
    await until(live.connection, bound=True, in_hand=0)
    assert (await info_of(live.connection)).config.max_ack_pending == IN_HAND


async def test_a_filter_that_has_changed_is_mended(nats: LiveNats, live: LiveWorkflow) -> None:
    config = replace((await info_of(live.connection)).config, filter_subject=f"{live.stream}.out")
    await live.connection.js.add_consumer(live.stream, config)
    await nats.prepare(LISTENING, process_of(LISTENING, "worker"))
    assert (await info_of(live.connection)).config.filter_subject == f"{live.stream}.trigger"


async def test_a_consumer_that_delivers_something_else_than_the_sdks_want_is_told(live: LiveWorkflow) -> None:
    await live.prepare(["trigger", "worker", "out"])
    config = ConsumerConfig(
        durable_name=HEARD,
        deliver_group=HEARD,
        deliver_subject="x",
        deliver_policy=DeliverPolicy.ALL,
        max_ack_pending=5,
        filter_subject=f"{live.stream}.out",
    )
    await live.connection.js.add_consumer(live.stream, config)
    with pytest.raises(JetStreamError, match=f"consumer {HEARD}.*Remedy: .*remove it"):
        await prepared_for(live, LISTENING)


async def test_a_consumer_or_a_stream_that_is_removed_is_made_again(
    live: LiveWorkflow, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kai_airflow.bridge.workflow.PAUSES", (0.05,))
    js = live.connection.js

    async def there() -> None:
        async with asyncio.timeout(20):
            while (
                live.stream not in [one.config.name for one in await js.streams_info()]
                or len(await listed(live.connection, live.stream)) != len(LISTENING.processes) - 1
            ):
                pass

    async with at_work(serving(live.connection, airflow, LISTENING)):
        await there()
        await js.delete_consumer(live.stream, HEARD)
        await there()
        await js.delete_stream(live.stream)
        await there()


async def test_what_a_killed_process_had_in_hand_is_handled_by_the_next_at_once(
    nats: LiveNats, live: LiveWorkflow
) -> None:
    first = await started(live)
    await live.send("trigger", {"do": "wait"}, "r0")
    for n in range(1, 5):
        await live.send("trigger", n, f"r{n}")
    await first.said("busy")
    await first.kill()
    await until(live.connection, bound=False, in_hand=5)
    await nats.gone(LABELS, "worker")
    outputs = await live.listen("worker")
    second = await started(live)
    await second.said("busy")
    second.signal(signal.SIGUSR1)
    heard = [decode((await outputs.next_msg(20)).data).request_id for _ in range(5)]
    assert heard == [f"r{n}" for n in range(5)]
    await all_acked(live.connection)


async def test_who_listens_already_keeps_what_it_has_in_hand(
    nats: LiveNats, live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one was faster than the news of the death: its own request is handled once, the dead one's again."""
    monkeypatch.setattr(live_nats, "QUIET", 1.5)
    first = await started(live)
    await live.send("trigger", {"do": "wait"}, "dead's")
    await first.said("busy")
    await first.kill()
    await until(live.connection, bound=False)
    second = await started(live)
    await live.send("trigger", {"do": "wait"}, "own")
    await second.said("busy")
    death = asyncio.create_task(nats.gone(LABELS, "worker"))
    await live.send("trigger", "later", "later")
    second.signal(signal.SIGUSR1)
    await death
    await second.said('"busy", "request_id": "dead')
    second.signal(signal.SIGUSR1)
    await all_acked(live.connection)
    assert await answered(live) == {"dead's": 1, "own": 1, "later": 1}


async def test_a_death_just_after_nats_was_restarted_waits_for_who_is_about_to_listen_again(
    nats: LiveNats, live: LiveWorkflow, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge is back before those who live: what they have in hand stays theirs, the dead one's is handed back."""
    monkeypatch.setattr(live_nats, "QUIET", 2.0)
    first = await started(live)
    await live.send("trigger", {"do": "wait"}, "dead's")
    await first.said("busy")
    second = await live.connection.nc.subscribe(f"_INBOX.{HEARD}", queue=HEARD)
    await live.send("trigger", "own", "own")
    while not second.pending_msgs:
        await live.send("trigger", "more", "more")  # the server chooses whose it is
        await asyncio.sleep(0.01)
    await first.kill()
    held = [await second.next_msg(1) for _ in range(second.pending_msgs)]
    await second.unsubscribe()
    mended = live.connection.breaks.mended
    nats_server.stop()  # a crash may forget what was delivered, and deliver it again by itself
    nats_server.start()
    await mended.wait()
    await until(live.connection, bound=False)
    naks = await live.connection.nc.subscribe(f"$JS.ACK.{live.stream}.{HEARD}.>")
    death = asyncio.create_task(nats.gone(LABELS, "worker"))
    with pytest.raises(NatsTimeoutError):
        await naks.next_msg(1)
    again = await live.connection.nc.subscribe(f"_INBOX.{HEARD}", queue=HEARD)
    for message in held:
        await message.ack_sync(5)
    await death
    own = {message.metadata.sequence.stream for message in held}
    handed_back = {(await again.next_msg(5)).metadata.sequence.stream}
    handed_back |= {(await again.next_msg(5)).metadata.sequence.stream for _ in range(again.pending_msgs)}
    assert 1 in handed_back
    assert not handed_back & own


async def test_who_listens_nowhere_is_told_of_the_consumers_of_tasks_and_exits(
    nats: LiveNats, live: LiveWorkflow
) -> None:
    both = {HEARD, consumer_of(LISTENING, "out")}
    assert await nats.unheard(live.stream) == both
    await started(live)
    await until(live.connection, bound=True)
    assert await nats.unheard(live.stream) == both - {HEARD}
    assert await nats.unheard(names.live_stream("shop", "v9.0.0", "train")) == set()


async def test_a_connection_is_steady_from_when_it_was_made_last(start_nats: StartNats) -> None:
    server = start_nats()
    async with connect(server.url, name="test") as connection:
        nats, mended = LiveNats(connection), connection.breaks.mended
        connection.breaks.made -= 100
        assert nats.steady() > 100
        server.kill()
        async with asyncio.timeout(20):
            while nats.steady():  # noqa: ASYNC110 - no event tells of a break
                await asyncio.sleep(0)
            server.start()
            await mended.wait()
        assert 0 < nats.steady() < 100


async def test_what_never_arrived_where_a_connection_broke_is_sent_again(
    nats: LiveNats, live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who listens is there, and has one message that it works on; of the other it knows nothing."""
    monkeypatch.setattr(live_nats, "STRAYED", 1.0)
    heard = await live.connection.nc.subscribe(f"_INBOX.{HEARD}", queue=HEARD)
    await live.send("trigger", "lost", "lost")
    await live.send("trigger", "done", "done")
    lost, done = await heard.next_msg(5), await heard.next_msg(5)
    looking = asyncio.create_task(nats.strayed(LABELS, "worker"))
    await done.ack()
    await looking
    again = await heard.next_msg(5)
    assert (again.data, again.metadata.num_delivered) == (lost.data, 2)
    await again.ack()
    await all_acked(live.connection)


async def test_a_server_that_was_lost_is_told(start_nats: StartNats) -> None:
    server = start_nats()
    async with connect(server.url, name="test") as connection:
        lost = asyncio.create_task(LiveNats(connection).lost())
        await asyncio.sleep(0)
        assert not lost.done()
        server.kill()
        server.start()
        async with asyncio.timeout(20):
            await lost


async def test_another_death_meanwhile_goes_on_for_both(
    nats: LiveNats, live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_nats, "QUIET", 1.0)
    first = await started(live)
    await live.send("trigger", {"do": "wait"}, "r0")
    await first.said("busy")
    await first.kill()
    await until(live.connection, bound=False)
    await started(live)
    naks = await live.connection.nc.subscribe(f"$JS.ACK.{live.stream}.{HEARD}.*.1.>")
    await asyncio.gather(nats.gone(LABELS, "worker"), nats.gone(LABELS, "worker"))
    assert (await naks.next_msg(5)).data == b"-NAK"
    assert naks.pending_msgs == 0


async def test_nothing_is_lost_where_one_of_several_is_killed_under_load(
    live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the dead had in hand may be handled twice: not more than it had."""
    monkeypatch.setattr(live_nats, "QUIET", 1.0)
    workflow = streaming(replicas=2)
    nats = await prepared_for(live, workflow)
    await started(live)
    outputs = await live.listen("worker")
    count, deaths = 3000, 3

    async def load() -> None:
        for n in range(count):
            await live.send("trigger", n, f"r{n}")

    loading, over = asyncio.create_task(load()), []
    for _ in range(deaths):
        victim = await started(live)
        for _ in range(50):
            await outputs.next_msg(20)
        await victim.kill()
        over.append(asyncio.create_task(nats.gone(LABELS, "worker")))
    await loading
    await asyncio.gather(*over)
    await all_acked(live.connection)
    found = await answered(live)
    assert set(found) == {f"r{n}" for n in range(count)}
    assert sum(found.values()) - count <= deaths * 2 * IN_HAND


async def test_only_left_reply_consumers_of_our_triggers_are_removed(
    nats: LiveNats, live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_nats, "AWAY", 1.0)
    prefix, js = "shop_v1_0_0_train-out-trigger", live.connection.js
    subject = f"{live.stream}.out"

    async def make(name: str, **more: str | None) -> str:
        config: Any = {"deliver_subject": f"_INBOX.{name}", "filter_subject": subject, **more}
        await js.add_consumer(live.stream, ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, **config))
        return name

    await make(f"{prefix}-{uuid.uuid4()}")  # of the Go SDK
    await make(f"{prefix}{uuid.uuid4()}")  # of the Python SDK
    bound = await make(f"{prefix}-{uuid.uuid4()}")
    await live.connection.nc.subscribe(f"_INBOX.{bound}")
    others = {
        bound,
        await make(f"{prefix}-mine"),
        await make(f"x-{uuid.uuid4()}"),
        await make(f"{prefix}-two-{uuid.uuid4()}"),
        await make(f"{prefix}-{uuid.uuid4()}", deliver_subject=None),
        await make(f"{prefix}-{uuid.uuid4()}", deliver_group="g"),
        await make(f"{prefix}-{uuid.uuid4()}", filter_subject=f"{live.stream}.worker"),
    }
    await nats.gone(labels_of(LISTENING, "trigger"), "trigger")
    assert len(await listed(live.connection, live.stream)) == 2 + 2 + len(others)  # they are young
    away = await make(f"{prefix}-{uuid.uuid4()}")  # its pod is back a moment later
    monkeypatch.setattr(live_nats, "YOUNG", timedelta(0))
    looked = live.connection.nc.stats["in_msgs"]
    removing = asyncio.create_task(nats.gone(labels_of(LISTENING, "trigger"), "trigger"))
    while live.connection.nc.stats["in_msgs"] == looked:  # noqa: ASYNC110 - no event tells of an answer
        await asyncio.sleep(0)
    await live.connection.nc.subscribe(f"_INBOX.{away}")
    await removing
    others.add(away)
    left = {info.name for info in await listed(live.connection, live.stream)}
    assert left == {HEARD, consumer_of(LISTENING, "out"), *others}


async def test_an_end_in_a_stream_that_is_gone_is_no_trouble(live: LiveWorkflow) -> None:
    nats = LiveNats(live.connection)
    await nats.gone(LABELS, "worker")
    assert await nats.idle(live.stream)


async def test_what_waits_for_a_process_or_is_in_hand_is_not_idle(nats: LiveNats, live: LiveWorkflow) -> None:
    assert await waiting(live.connection, LISTENING) == 0
    assert await nats.idle(live.stream)
    for n in range(IN_HAND + 2):
        await live.send("trigger", n or {"do": "wait"}, f"r{n}")
    assert not await nats.idle(live.stream)
    worker = await started(live)
    await worker.said("busy")
    await until(live.connection, bound=True, in_hand=IN_HAND)
    assert await waiting(live.connection, LISTENING) == IN_HAND + 2
    assert not await nats.idle(live.stream)


async def test_what_waits_to_become_a_run_is_counted(connection: Connection, airflow: Airflow) -> None:
    assert await waiting(connection, WORKFLOW) == 0
    await prepared(connection, airflow)
    await prepared(connection, airflow, "second")
    await publish(connection, 3)
    await publish(connection, 2, "second")
    await connection.js.publish(names.output_subject(STREAM, "work"), b"")
    assert await waiting(connection, WORKFLOW) == 5
