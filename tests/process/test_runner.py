"""A process on KAI's wire contract: a real program, a hand-written app.yaml, a real nats-server."""

from __future__ import annotations

import asyncio
import gzip
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nats.js.api import DeliverPolicy

from kai_airflow.messaging.codec import Json, Message, MessageType, Payload, decode, encode, pack, unpack
from kai_airflow.messaging.connection import connect, flush
from kai_airflow.messaging.streams import ensure_object_store
from kai_airflow.plan import names
from kai_airflow.process import Process, ProcessError, Request, settings
from kai_airflow.process.loop import Loop
from kai_airflow.process.output import output

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from kai_airflow.messaging.connection import Connection
    from tests.conftest import LiveWorkflow, NatsServer, Program

WORKER = Path(__file__).with_name("worker.py")
CONSUMER = "shop_v1_0_0_train-trigger-worker"
DEADLINE = 20.0


@pytest.fixture
async def workflow(live: LiveWorkflow) -> LiveWorkflow:
    """Stream, buckets and consumer of a worker that listens to ``trigger``."""
    await live.prepare(["trigger", "other", "plain", "stranger", "worker"])
    await live.consumer("trigger", "worker")
    return live


async def start(workflow: LiveWorkflow, *subscriptions: str) -> Program:
    subscriptions = subscriptions or ("trigger",)
    worker = await workflow.run(workflow.app("worker", subscriptions), WORKER)
    await worker.said(f"listening to {workflow.stream}.{subscriptions[-1]}")
    return worker


async def heard(listening: Subscription) -> Message:
    return decode((await listening.next_msg(DEADLINE)).data)


async def values(listening: Subscription, count: int) -> list[Json]:
    return [unpack((await heard(listening)).payload) for _ in range(count)]


async def pending(workflow: LiveWorkflow, consumer: str = CONSUMER) -> tuple[int, int]:
    """Messages that the consumer has not delivered, and those that it has and nobody acked."""
    info = await workflow.connection.js.consumer_info(workflow.stream, consumer)
    return info.num_pending or 0, info.num_ack_pending or 0


async def test_what_was_published_before_it_started_is_handled_in_order_and_acked(workflow: LiveWorkflow) -> None:
    for number in range(50):
        await workflow.send("trigger", number, f"request-{number}")
    outputs = await workflow.listen("worker")
    worker = await start(workflow)
    answers = [await heard(outputs) for _ in range(50)]
    assert [unpack(answer.payload) for answer in answers] == [{"got": n, "error": ""} for n in range(50)]
    assert [answer.request_id for answer in answers] == [f"request-{number}" for number in range(50)]
    assert {(answer.from_node, answer.type) for answer in answers} == {("worker", MessageType.OK)}
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert await pending(workflow) == (0, 0)


async def test_a_consumer_that_is_missing_is_made_as_the_sdks_make_it(live: LiveWorkflow) -> None:
    await live.prepare(["trigger", "worker"])
    await live.send("trigger", "before", "old")
    outputs = await live.listen("worker")
    await start(live)
    config = (await live.connection.js.consumer_info(live.stream, CONSUMER)).config
    assert (config.durable_name, config.deliver_group) == (CONSUMER, CONSUMER)
    assert (config.deliver_policy, config.ack_policy, config.ack_wait) == (DeliverPolicy.NEW, "explicit", 22 * 3600)
    assert config.filter_subject == f"{live.stream}.trigger"
    await live.send("trigger", "after", "new")
    assert (await heard(outputs)).request_id == "new"


async def test_a_consumer_that_exists_is_used_as_it_is(live: LiveWorkflow) -> None:
    await live.prepare(["trigger", "worker"])
    await live.consumer("trigger", "worker", max_ack_pending=1)
    await start(live)
    assert (await live.connection.js.consumer_info(live.stream, CONSUMER)).config.max_ack_pending == 1


async def test_a_handler_that_raises_acks_first_and_then_publishes_an_error(workflow: LiveWorkflow) -> None:
    everything = await workflow.connection.nc.subscribe(">")
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "fail"}, "request-7")
    seen: list[Msg] = []
    while not seen or seen[-1].subject != f"{workflow.stream}.worker":
        seen.append(await everything.next_msg(DEADLINE))
    acks = [message for message in seen if message.subject.startswith("$JS.ACK") and message.data == b""]
    assert len(acks) == 1
    assert decode(seen[-1].data) == Message("request-7", Payload(), "ValueError: as told", "worker", MessageType.ERROR)
    assert "Traceback" in await worker.said("the handler failed")


async def test_after_an_error_the_next_request_is_handled(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    for order in ("fail", "object", "cancel", "cancelled", "group", "get on"):
        await workflow.send("trigger", {"do": order})
    answers = [await heard(outputs) for _ in range(6)]
    assert [answer.type.name for answer in answers] == [*["ERROR"] * 5, "OK"]
    errors = ["ValueError", "payload at $: object is not JSON", "TimeoutError", "CancelledError", "ExceptionGroup", ""]
    assert [answer.error[: len(error)] for answer, error in zip(answers, errors, strict=True)] == errors


async def test_a_message_goes_to_the_handler_of_its_sender_or_of_all_the_rest(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow, "trigger", "other", "stranger")
    for sender, expected in (("other", {"got": 1, "error": ""}), ("stranger", "the rest: stranger")):
        await workflow.send(sender, 1)
        assert await values(outputs, 1) == [expected]


async def test_a_sender_without_a_handler_is_answered_with_an_error(workflow: LiveWorkflow, tmp_path: Path) -> None:
    program = tmp_path / "handlers.py"
    program.write_text(
        "from kai_airflow.process import Process\nprocess = Process()\nprocess.on('somebody')(print)\nprocess.run()\n"
    )
    outputs = await workflow.listen("worker")
    await workflow.run(workflow.app("worker", ["trigger"]), program)
    await workflow.send("trigger", 1, "request-1")
    answer = await heard(outputs)
    assert (answer.request_id, answer.type) == ("request-1", MessageType.ERROR)
    assert "no handler for what 'trigger' sends" in answer.error


async def test_channels_may_have_dots(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker.>")
    await start(workflow)
    channels = ["go", "py", "features.hot.new"]
    await workflow.send("trigger", {"do": "channels", "names": channels})
    for channel in channels:
        message = await outputs.next_msg(DEADLINE)
        assert message.subject == f"{workflow.stream}.worker.{channel}"
        assert unpack(decode(message.data).payload) == channel


@pytest.mark.parametrize("channel", ["a b", "*", "a.>", "a..b", ".a", "a.", "a\n"])
async def test_a_channel_that_nats_does_not_allow_is_an_error(workflow: LiveWorkflow, channel: str) -> None:
    outputs = await workflow.listen("worker.>")
    answers = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "channels", "names": [channel]})
    assert "no channel can be called" in (await heard(answers)).error
    assert outputs.pending_msgs == 0


async def test_many_messages_under_other_ids_may_answer_one_request(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "rename", "ids": ["a", "b", ""]})
    assert [(await heard(outputs)).request_id for _ in range(3)] == ["a", "b", ""]


async def test_what_was_not_awaited_is_published_in_order_before_the_ack(workflow: LiveWorkflow) -> None:
    everything = await workflow.connection.nc.subscribe(">")
    await start(workflow)
    await workflow.send("trigger", {"do": "many", "count": 100})
    seen: list[Json] = []
    while "ack" not in seen:
        message = await everything.next_msg(DEADLINE)
        if message.subject == f"{workflow.stream}.worker":
            seen.append(unpack(decode(message.data).payload))
        elif message.subject.startswith("$JS.ACK"):
            seen.append("ack")
    assert seen == [*range(100), "ack"]


async def test_what_is_awaited_is_published_after_what_was_asked_for_before(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "mix"})
    assert await values(outputs, 5) == [0, 1, 2, 3, 4]


async def test_more_outputs_than_nats_is_given_at_once_are_stored_in_order(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "each", "count": 10_000})
    assert await values(outputs, 10_000) == list(range(10_000))


async def test_an_output_that_nats_refused_is_an_error_though_the_handler_went_on(workflow: LiveWorkflow) -> None:
    """The handler swallows what it is told, and the request doesn't count as done well; the one behind it does."""
    outputs = await workflow.listen("worker")
    config = (await workflow.connection.js.stream_info(workflow.stream)).config
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "swallow", "size": 2000}, "refused")
    await workflow.send("trigger", {"do": "text", "size": 10}, "taken")
    await worker.said("busy")
    await workflow.connection.js.update_stream(config, max_msg_size=1000)
    worker.signal(signal.SIGUSR1)
    answers = {answer.request_id: answer for answer in [await heard(outputs) for _ in range(3)] if answer.error}
    assert "cannot publish on shop_v1_0_0_train.worker: message size exceeds" in answers.pop("refused").error
    assert answers == {}
    (line,) = [one for one in worker.logged() if one["level"] == "ERROR"]
    assert line["request_id"] == "refused"


async def test_an_error_that_nats_refuses_too_ends_it_with_1(workflow: LiveWorkflow) -> None:
    """A stream without room."""
    config = (await workflow.connection.js.stream_info(workflow.stream)).config
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "swallow", "size": 1})
    await worker.said("busy")
    await workflow.connection.js.update_stream(config, max_msgs=1)
    worker.signal(signal.SIGUSR1)
    assert await worker.ended() == 1
    assert "cannot publish on shop_v1_0_0_train.worker: maximum messages exceeded" in worker.logged()[-1]["msg"]


async def given(workflow: LiveWorkflow, count: int) -> None:
    """Wait until a worker was given so many requests."""
    async with asyncio.timeout(DEADLINE):
        while await pending(workflow) != (0, count):
            pass  # each look is a round trip


async def idle(workflow: LiveWorkflow) -> Program:
    """A worker that listens, which the server knows for certain: it has handled request 0."""
    worker = await start(workflow)
    await workflow.send("trigger", "first", "0")
    await worker.said('"msg": "handled", "request_id": "0"')
    await given(workflow, 0)
    return worker


async def ahead(workflow: LiveWorkflow, nats_server: NatsServer, *values: Json) -> Program:
    """A worker that handled request 0, and was given 1, 2, ... at once, by a nats-server that does nothing since."""
    worker = await idle(workflow)
    worker.pause()
    for number, value in enumerate(values, 1):
        await workflow.send("trigger", value, str(number))
    await given(workflow, len(values))
    nats_server.pause()
    worker.signal(signal.SIGCONT)
    return worker


async def test_the_next_request_is_handled_while_nats_stores_what_the_last_one_sent(
    workflow: LiveWorkflow, nats_server: NatsServer
) -> None:
    outputs = await workflow.listen("worker")
    worker = await ahead(workflow, nats_server, "a", "b", "c")
    await worker.said('"msg": "handled", "request_id": "3"')
    nats_server.go_on()
    assert [(await heard(outputs)).request_id for _ in range(4)] == ["0", "1", "2", "3"]
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert await pending(workflow) == (0, 0)


async def test_what_nats_has_not_stored_is_not_acked(workflow: LiveWorkflow, nats_server: NatsServer) -> None:
    worker = await ahead(workflow, nats_server, "a", "b", "c")
    await worker.said('"msg": "handled", "request_id": "3"')
    await worker.kill()
    nats_server.go_on()
    assert await pending(workflow) == (0, 3)


async def test_told_to_stop_it_acks_what_it_handled_ahead(workflow: LiveWorkflow, nats_server: NatsServer) -> None:
    outputs = await workflow.listen("worker")
    worker = await ahead(workflow, nats_server, "a", "b", "c")
    await worker.said('"msg": "handled", "request_id": "3"')
    worker.signal(signal.SIGTERM)
    nats_server.go_on()
    assert await worker.ended() == 0
    assert [(await heard(outputs)).request_id for _ in range(4)] == ["0", "1", "2", "3"]
    assert await pending(workflow) == (0, 0)


async def test_behind_an_error_nothing_is_handled_until_it_is_told(
    workflow: LiveWorkflow, nats_server: NatsServer
) -> None:
    outputs = await workflow.listen("worker")
    worker = await ahead(workflow, nats_server, "a", {"do": "fail"}, "c")
    await worker.said("the handler failed")
    assert not [line for line in worker.logged() if line.get("request_id") == "3"]
    nats_server.go_on()
    answers = [await heard(outputs) for _ in range(4)][1:]
    assert [(one.request_id, one.error) for one in answers] == [("1", ""), ("2", "ValueError: as told"), ("3", "")]


async def test_a_plain_function_can_be_a_handler(workflow: LiveWorkflow) -> None:
    await workflow.consumer("plain", "worker")
    outputs = await workflow.listen("worker")
    await start(workflow, "plain")
    await workflow.send("plain", "x")
    assert await values(outputs, 3) == [[0, "x"], [1, "x"], [2, "x"]]


async def test_a_payload_can_be_passed_on_as_it_came(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "forward"})
    assert (await heard(outputs)).payload == pack({"do": "forward"})


async def test_an_error_can_be_sent_without_failing(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "complain"}, "request-1")
    assert await heard(outputs) == Message("request-1", Payload(), "complaint", "worker", MessageType.ERROR)


async def test_an_error_message_from_upstream_reaches_the_handler(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", None, error="upstream failed", type=MessageType.ERROR)
    assert await values(outputs, 1) == [{"got": None, "error": "upstream failed"}]


@pytest.mark.parametrize("data", [b"", b"not protobuf", b"\x1f\x8b broken", gzip.compress(b"x" * 5000, mtime=0)[:-9]])
async def test_what_is_no_message_is_acked_and_answered_with_an_error(workflow: LiveWorkflow, data: bytes) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send_bytes("trigger", data)
    await workflow.send("trigger", "next")
    answer = await heard(outputs)
    assert (answer.request_id, answer.from_node, answer.type) == ("", "worker", MessageType.ERROR)
    assert answer.error.startswith("not a message")
    assert await values(outputs, 1) == [{"got": "next", "error": ""}]
    assert (await pending(workflow))[0] == 0


async def test_a_payload_that_lies_about_its_type_is_answered_with_an_error(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    lie = Message("request-1", Payload("type.googleapis.com/google.protobuf.Value", b"\xff"), from_node="trigger")
    await workflow.send_bytes("trigger", encode(lie, 1000))
    answer = await heard(outputs)
    assert (answer.request_id, answer.type) == ("request-1", MessageType.ERROR)


async def test_a_gzipped_message_is_read_and_a_large_one_is_gzipped(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    await start(workflow)
    order = Message("request-1", pack({"do": "text", "size": 2 << 20}), from_node="trigger")
    await workflow.send_bytes("trigger", gzip.compress(encode(order, 1000), mtime=0))
    message = await outputs.next_msg(DEADLINE)
    assert message.data.startswith(b"\x1f\x8b")
    assert unpack(decode(message.data).payload) == "x" * (2 << 20)


async def test_an_output_too_large_for_nats_is_answered_with_an_error(workflow: LiveWorkflow) -> None:
    """The SDKs drop it and ack, so nobody learns of it."""
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "noise", "size": 4 << 20}, "request-1")
    answer = await heard(outputs)
    assert (answer.request_id, answer.type) == ("request-1", MessageType.ERROR)
    assert "gzipped" in answer.error


async def test_the_streams_own_limit_counts_too(workflow: LiveWorkflow) -> None:
    config = (await workflow.connection.js.stream_info(workflow.stream)).config
    await workflow.connection.js.update_stream(config, max_msg_size=2000)
    outputs = await workflow.listen("worker")
    await start(workflow)
    await workflow.send("trigger", {"do": "text", "size": 5000})
    assert (await outputs.next_msg(DEADLINE)).data.startswith(b"\x1f\x8b")
    await workflow.send("trigger", {"do": "noise", "size": 9000})
    assert "NATS takes 2000" in (await heard(outputs)).error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_while_idle_it_ends_with_0(workflow: LiveWorkflow, number: signal.Signals) -> None:
    worker = await start(workflow)
    worker.signal(number)
    assert await worker.ended() == 0
    assert (await workflow.connection.js.consumer_info(workflow.stream, CONSUMER)).name == CONSUMER


async def test_told_to_stop_while_busy_it_finishes_that_request_and_gives_the_others_back(
    workflow: LiveWorkflow,
) -> None:
    outputs = await workflow.listen("worker")
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "wait"}, "first")
    await workflow.send("trigger", "second", "second")
    await worker.said("busy")
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGUSR1)
    assert await worker.ended() == 0
    assert await values(outputs, 1) == ["waited"]
    assert outputs.pending_msgs == 0
    await start(workflow)
    assert (await heard(outputs)).request_id == "second"


async def test_told_to_stop_it_gives_back_what_it_was_sent_and_has_not_read(workflow: LiveWorkflow) -> None:
    worker = await idle(workflow)
    worker.pause()
    for number in (1, 2, 3):
        await workflow.send("trigger", number, str(number))
    await given(workflow, 3)
    outputs = await workflow.listen("worker")
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    assert await worker.ended() == 0
    await start(workflow)
    assert {(await heard(outputs)).request_id for _ in range(3)} == {"1", "2", "3"}


async def test_told_to_stop_it_gives_back_what_waits_behind_handlers_that_block(workflow: LiveWorkflow) -> None:
    worker = await start(workflow)
    for number in range(40):
        await workflow.send("trigger", {"do": "block", "seconds": 0.1}, str(number))
    await worker.said('"msg": "handled", "request_id": "2"')
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    given_back, in_hand = await pending(workflow)
    assert given_back + in_hand == 40 - sum(line["msg"] == "handled" for line in worker.logged()) > 0
    outputs = await workflow.listen("worker")
    await start(workflow)
    assert await values(outputs, given_back + in_hand) == ["begun"] * (given_back + in_hand)


async def stopping(workflow: LiveWorkflow) -> Program:
    """A worker that was told to stop while it has request 0 in hand; 1 and 2 wait in its memory."""
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "wait"}, "0")
    for number in (1, 2):
        await workflow.send("trigger", number, str(number))
    await worker.said("busy")
    await given(workflow, 3)
    worker.signal(signal.SIGTERM)
    return worker


async def test_a_crash_of_nats_server_while_it_stops_takes_nothing_from_it_or_others(
    workflow: LiveWorkflow, nats_server: NatsServer
) -> None:
    worker = await stopping(workflow)
    mended = workflow.connection.breaks.mended
    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)
    async with asyncio.timeout(DEADLINE):
        await mended.wait()
    outputs = await workflow.listen("worker")
    worker.signal(signal.SIGUSR1)
    assert await worker.ended() == 0
    await start(workflow)
    assert [(await heard(outputs)).request_id for _ in range(3)] == ["0", "1", "2"]


async def test_a_connection_that_is_closed_for_good_while_it_stops_ends_it_with_1(
    workflow: LiveWorkflow, nats_server: NatsServer
) -> None:
    worker = await stopping(workflow)
    nats_server.reload("authorization { user: somebody, password: else }")
    async with asyncio.timeout(DEADLINE):
        await workflow.connection.closed.wait()  # as the worker's is
    worker.signal(signal.SIGUSR1)
    assert await worker.ended() == 1


async def test_replicas_share_the_requests(workflow: LiveWorkflow) -> None:
    outputs = await workflow.listen("worker")
    replicas = await asyncio.gather(*(start(workflow) for _ in range(3)))
    for number in range(60):
        await workflow.send("trigger", number, str(number))
    assert {(await heard(outputs)).request_id for _ in range(60)} == {str(number) for number in range(60)}
    assert outputs.pending_msgs == 0
    for replica in replicas:
        await replica.said("request from trigger")


async def test_replicas_that_start_together_all_get_messages(live: LiveWorkflow) -> None:
    """Each would make the consumer deliver to itself alone, were the delivery subject not always the same."""
    await live.prepare(["trigger", "worker"])
    told = settings.read({"KAI_APP_CONFIG_PATH": str(live.written(live.app("worker", ["trigger"])))})
    stop, got = asyncio.Event(), [asyncio.Event() for _ in range(3)]

    async def replica(own: Connection, gets: asyncio.Event) -> None:
        async def handle(_: Request) -> None:
            gets.set()

        await Loop(told, own, await output(told, own), handle, stop).run()

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(live.url, name="replica")) for _ in got]
        running = [asyncio.create_task(replica(*one)) for one in zip(connections, got, strict=True)]
        async with asyncio.timeout(DEADLINE):
            while not all(one.is_set() for one in got):
                await live.send("trigger", "again")
        stop.set()
        await asyncio.gather(*running)


async def test_it_goes_on_after_a_crash_of_nats_server(workflow: LiveWorkflow, nats_server: NatsServer) -> None:
    await start(workflow)
    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)
    async with connect(nats_server.url, name="test") as fresh:
        outputs = await fresh.nc.subscribe(f"{workflow.stream}.worker")
        await flush(fresh.nc)
        data = encode(Message("request-1", pack("after"), from_node="trigger"), 1000)
        await fresh.js.publish(f"{workflow.stream}.trigger", data)
        assert await values(outputs, 1) == [{"got": "after", "error": ""}]


async def test_large_outputs_wait_while_nats_server_is_away(workflow: LiveWorkflow, nats_server: NatsServer) -> None:
    """More than the client would hold."""
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "large", "count": 30, "size": 200_000})
    await worker.said("busy")
    await asyncio.to_thread(nats_server.kill)
    worker.signal(signal.SIGUSR1)
    await worker.said("NATS: ")
    await asyncio.to_thread(nats_server.start)
    async with connect(nats_server.url, name="test") as fresh:
        outputs = await fresh.js.subscribe(f"{workflow.stream}.worker", ordered_consumer=True)
        assert [number for number, _ in await values(outputs, 30)] == list(range(30))


async def test_without_nats_it_ends_with_1_and_the_request_is_not_acked(
    workflow: LiveWorkflow, nats_server: NatsServer
) -> None:
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "wait"}, "first")
    await worker.said("busy")
    await asyncio.to_thread(nats_server.kill)
    worker.signal(signal.SIGUSR1)
    assert await worker.ended() == 1
    assert "cannot publish" in worker.logged()[-1]["msg"]
    await asyncio.to_thread(nats_server.start)
    assert await pending(workflow) == (0, 1)


async def test_its_configuration_is_written_over_what_was_changed(workflow: LiveWorkflow) -> None:
    bucket = await workflow.connection.js.key_value(workflow.buckets("worker")["process"])
    await bucket.put("rate", b"by hand")
    config = {"not a key": "x", "rate": "0.5"}
    worker = await workflow.run(workflow.app("worker", ["trigger"], **config), WORKER)
    assert str(config) in await worker.said("configured")
    assert (await bucket.get("rate")).value == b"0.5"
    assert "NATS allows no key 'not a key'" in await worker.said("WARNING")


async def test_its_log_is_json_with_the_request_in_hand(workflow: LiveWorkflow) -> None:
    worker = await start(workflow)
    await workflow.send("trigger", {"do": "fail"}, "request-1")
    await worker.said("the handler failed")
    worker.signal(signal.SIGTERM)
    await worker.ended()
    lines = worker.logged()
    assert [line["msg"] for line in lines if line.get("request_id") == "request-1"] == [
        "request from trigger",
        "the handler failed",
    ]
    assert {line["logger"] for line in lines} == {"worker"}
    assert "request_id" not in lines[-1]


async def test_each_start_that_fails_ends_with_1_and_says_why(workflow: LiveWorkflow) -> None:
    good = workflow.app("worker", ["trigger"])
    await workflow.connection.js.delete_key_value(workflow.buckets("worker")["process"])
    for change, said in (
        ({}, "key-store_shop_v1_0_0_train_worker"),
        ({"nats": {"url": "x"}}, "nats.stream, nats.output missing"),
        ({"nats": good["nats"] | {"url": "nats://u:s3cret@127.0.0.1:1"}}, "nobody answers at nats://u:***@127.0.0.1:1"),
    ):
        worker = await workflow.run(good | change, WORKER)
        assert await worker.ended() == 1
        assert said in worker.logged()[-1]["msg"]
        assert "s3cret" not in "".join(worker.lines)


async def test_a_declared_object_store_must_exist(workflow: LiveWorkflow) -> None:
    app = workflow.app("worker", ["trigger"])
    app["nats"]["object_store"] = "shop_v1_0_0_models"
    worker = await workflow.run(app, WORKER)
    assert await worker.ended() == 1
    await worker.said("object store shop_v1_0_0_models")
    await ensure_object_store(workflow.connection.js, names.Bucket("shop_v1_0_0_models"))
    await (await workflow.run(app, WORKER)).said("listening")


async def test_an_input_that_no_stream_takes_in_ends_it_with_1(workflow: LiveWorkflow) -> None:
    app = workflow.app("worker", ["trigger"])
    app["nats"]["stream"] = "nothing"
    worker = await workflow.run(app, WORKER)
    assert await worker.ended() == 1
    await worker.said("stream nothing")


async def test_an_init_hook_that_raises_ends_it_with_1(workflow: LiveWorkflow, tmp_path: Path) -> None:
    program = tmp_path / "hook.py"
    program.write_text(
        "from kai_airflow.process import Process\nprocess = Process()\nprocess.init(lambda: 1 / 0)\nprocess.run()\n"
    )
    worker = await workflow.run(workflow.app("worker", ["trigger"]), program)
    assert await worker.ended() == 1
    assert "ZeroDivisionError" in worker.logged()[-1]["exception"]


def test_two_handlers_for_one_sender_are_an_error() -> None:
    process = Process()
    process.on("splitter")(print)
    with pytest.raises(ProcessError, match="two handlers for splitter"):
        process.on("trigger", "splitter")(print)


def test_it_starts_light() -> None:
    """A container starts it at each try."""
    program = "import sys, kai_airflow.process; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert not {"airflow", "pydantic", "kubernetes", "grpc"} & set(modules)
