"""A trigger on KAI's wire contract: a real program that is told over HTTP what to do, a real nats-server."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from nats.js.errors import NotFoundError

from kai_airflow.local import ports
from kai_airflow.messaging.cancelling import heed_cancel
from kai_airflow.messaging.codec import Message, MessageType, decode, encode, pack, unpack
from kai_airflow.messaging.connection import connect
from kai_airflow.plan import names
from kai_airflow.process import Process, ProcessError, Trigger, address, port
from tests.bridge.proxy import SwallowingProxy
from tests.conftest import DEADLINE, LiveWorkflow, heard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.conftest import NatsServer, Program

ASKER = Path(__file__).with_name("asker.py")
CONSUMER = "shop_v1_0_0_train-exit-asker-"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Asker:
    """A trigger that runs, and what it is told to do."""

    def __init__(self, program: Program, url: str, session: aiohttp.ClientSession) -> None:
        self.program = program
        self._url, self._session = url, session

    async def told(self, do: str, **order: Any) -> Any:
        async with self._session.post(self._url, json={"do": do, **order}) as answer:
            return await answer.json()

    async def ask(self, payload: Any, timeout: float = DEADLINE, **order: Any) -> Any:
        return await self.told("ask", payload=payload, timeout=timeout, **order)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2 * DEADLINE)) as one:
        yield one


@pytest.fixture
async def workflow(live: LiveWorkflow) -> LiveWorkflow:
    await live.prepare(["asker", "exit"])
    return live


async def start(
    workflow: LiveWorkflow,
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    *subscriptions: str,
    **config: str,
) -> Asker:
    monkeypatch.setenv("KAI_AIRFLOW_PORT_1234", str(ports.free(1)[0]))
    app = workflow.trigger_app("asker", subscriptions, **config)
    program = await workflow.run(app, ASKER)
    await program.said("serving")
    return Asker(program, f"http://127.0.0.1:{port(1234)}", session)


@pytest.fixture
async def asker(workflow: LiveWorkflow, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> Asker:
    return await start(workflow, session, monkeypatch, "exit")


async def consumers(workflow: LiveWorkflow) -> list[Any]:
    return list(await workflow.connection.js.consumers_info(workflow.stream))


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what NATS tells only who asks."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def echoing(workflow: LiveWorkflow) -> AsyncIterator[None]:
    """An exit that answers each request of the trigger with its payload, the latest of ten first."""
    requests = await workflow.listen("asker")

    async def echo() -> None:
        while True:
            heed_cancel()  # publishing may have swallowed it
            batch = [await requests.next_msg(DEADLINE)]
            while requests.pending_msgs and len(batch) < 10:
                batch.append(await requests.next_msg(DEADLINE))
            for delivery in reversed(batch):
                request = decode(delivery.data)
                await workflow.send("exit", unpack(request.payload), request.request_id)

    task = asyncio.create_task(echo())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_it_sends_is_stored_under_its_own_name_and_id(workflow: LiveWorkflow, asker: Asker) -> None:
    requests = await workflow.listen("asker")
    answer = await asker.told("send", payload={"n": 1}, request_id="r-1")
    assert answer == {"request_id": "r-1"}
    stored = await workflow.connection.js.get_last_msg(workflow.stream, f"{workflow.stream}.asker")
    assert decode(stored.data or b"") == Message("r-1", pack({"n": 1}), "", "asker", MessageType.OK)
    assert await heard(requests) == decode(stored.data or b"")


async def test_without_an_id_each_request_gets_one_of_its_own(workflow: LiveWorkflow, asker: Asker) -> None:
    requests = await workflow.listen("asker.go")
    ids = [(await asker.told("send", payload=None, channel="go"))["request_id"] for _ in range(2)]
    assert ids == [(await heard(requests)).request_id for _ in ids]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"payload": 2**53 + 1}, "PayloadError"),
        ({"payload": "", "channel": "a b"}, "ProcessError"),
        ({"payload": None, "channel": "*"}, "ProcessError"),
    ],
)
async def test_what_cannot_travel_is_an_error_and_nothing_is_sent(
    workflow: LiveWorkflow, asker: Asker, order: dict[str, Any], error: str
) -> None:
    requests = await workflow.listen("asker.>")
    assert (await asker.told("send", **order))["type"] == error
    await asker.told("send", payload="after", channel="after")
    assert (await requests.next_msg(DEADLINE)).subject.endswith(".after")


async def test_its_consumer_is_named_and_made_as_the_sdks_do_and_removed_at_the_end(
    workflow: LiveWorkflow, asker: Asker
) -> None:
    (info,) = await consumers(workflow)
    name, config = info.name, info.config
    assert name.startswith(CONSUMER)
    assert re.fullmatch(UUID, name.removeprefix(CONSUMER))
    assert (config.durable_name, config.deliver_group, config.filter_subject) == (name, None, f"{workflow.stream}.exit")
    assert (config.deliver_policy, config.ack_policy, config.ack_wait) == ("new", "explicit", 22 * 3600)
    asker.program.signal(signal.SIGTERM)
    assert await asker.program.ended() == 0
    with pytest.raises(NotFoundError):
        await workflow.connection.js.consumer_info(workflow.stream, name)
    assert asker.program.logged()[-1]["msg"] == "ended, as told"


async def test_a_reply_is_that_with_the_same_id(workflow: LiveWorkflow, asker: Asker) -> None:
    requests = await workflow.listen("asker")
    asking = asyncio.create_task(asker.ask("what?", request_id="mine"))
    assert (await heard(requests)).request_id == "mine"
    await workflow.send("exit", "not for it", "another's")
    await workflow.send_bytes("exit", b"\x1f\x8b broken")
    await workflow.send("exit", {"a": 1}, "mine")
    await workflow.send("exit", "too late", "mine")
    assert await asking == {"id": "mine", "sender": "exit", "payload": {"a": 1}, "error": ""}
    await asker.program.said("a reply on shop_v1_0_0_train.exit: not a message")


async def test_all_replies_are_acked(workflow: LiveWorkflow, asker: Asker) -> None:
    async with echoing(workflow):
        await asyncio.gather(*(asker.ask(n) for n in range(5)))
        for data in (b"nonsense", encode(Message("nobody's"), 1000)):
            await workflow.send_bytes("exit", data)
        await asker.ask("last")
    await taken(workflow)


async def taken(workflow: LiveWorkflow) -> None:
    """Wait until the trigger has acked all replies."""
    last = (await workflow.connection.js.get_last_msg(workflow.stream, f"{workflow.stream}.exit")).seq or 0

    async def acked() -> bool:
        return int((await consumers(workflow))[0].ack_floor.stream_seq) >= last

    await eventually(acked)


async def test_an_error_comes_back_as_one(workflow: LiveWorkflow, asker: Asker) -> None:
    requests = await workflow.listen("asker")
    for text, said in (("no such model", "no such model"), ("", "no text")):
        asking = asyncio.create_task(asker.ask(1))
        request = await heard(requests)
        await workflow.send("exit", None, request.request_id, error=text, type=MessageType.ERROR)
        assert (await asking)["error"] == said


async def test_a_hundred_at_once_get_each_its_own_reply(workflow: LiveWorkflow, asker: Asker) -> None:
    async with echoing(workflow):
        replies = await asyncio.gather(*(asker.ask(n) for n in range(100)))
    assert [reply["payload"] for reply in replies] == list(range(100))


async def test_two_copies_get_each_the_replies_to_its_own(
    workflow: LiveWorkflow, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    askers = [await start(workflow, session, monkeypatch, "exit") for _ in range(2)]
    assert len({info.name for info in await consumers(workflow)}) == 2
    async with echoing(workflow):
        replies = await asyncio.gather(*(askers[n % 2].ask(n) for n in range(20)))
    assert [reply["payload"] for reply in replies] == list(range(20))


async def test_without_a_reply_in_time_it_is_an_error_that_says_so(workflow: LiveWorkflow, asker: Asker) -> None:
    answer = await asker.ask(1, timeout=0.2, request_id="r-1")
    assert answer["type"] == "NoReplyError"
    assert answer["error"].startswith("no reply to request r-1 within 0.2 s. Remedy:")
    await workflow.send("exit", "too late", "r-1")
    await taken(workflow)
    async with echoing(workflow):
        assert (await asker.ask(2, request_id="r-1"))["payload"] == 2


async def test_an_id_that_waits_for_its_reply_cannot_be_asked_with_again(workflow: LiveWorkflow, asker: Asker) -> None:
    requests = await workflow.listen("asker")
    asking = asyncio.create_task(asker.ask(1, request_id="twin"))
    await heard(requests)
    assert "twin waits for its reply already" in (await asker.ask(1, request_id="twin"))["error"]
    await workflow.send("exit", "yes", "twin")
    assert (await asking)["payload"] == "yes"
    assert requests.pending_msgs == 0


async def test_a_trigger_that_nobody_replies_to_can_only_send(
    workflow: LiveWorkflow, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = await start(workflow, session, monkeypatch)
    assert "nobody replies to this trigger" in (await asker.ask(1))["error"]
    assert (await asker.told("send", payload=1, request_id="a"))["request_id"] == "a"
    assert await consumers(workflow) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_answers_what_is_in_hand(
    workflow: LiveWorkflow, asker: Asker, number: signal.Signals
) -> None:
    requests = await workflow.listen("asker")
    asking = asyncio.create_task(asker.ask("slow"))
    request = await heard(requests)
    asker.program.signal(number)
    await asker.program.said("stopping")
    await workflow.send("exit", "done", request.request_id)
    assert (await asking)["payload"] == "done"
    assert await asker.program.ended() == 0
    assert await consumers(workflow) == []


async def test_one_that_does_not_stop_is_ended_after_a_while(workflow: LiveWorkflow, tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(
        "import asyncio\nfrom kai_airflow.process import Trigger, trigger as module\nmodule.END_TIME = 0.3\n"
        "trigger = Trigger()\n@trigger.runner\nasync def serve(stop):\n    trigger.log.info('deaf')\n"
        "    await asyncio.Event().wait()\ntrigger.run()\n"
    )
    stubborn = await workflow.run(workflow.trigger_app("asker", ["exit"]), program)
    await stubborn.said("deaf")
    stubborn.signal(signal.SIGTERM)
    assert await stubborn.ended() == 0
    await stubborn.said("still busy 0.3 s after it was told to stop")
    assert await consumers(workflow) == []


async def test_its_own_end_is_the_end_of_the_process(
    workflow: LiveWorkflow, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = await start(workflow, session, monkeypatch, "exit", ends="by itself")
    await asker.told("finish")
    assert await asker.program.ended() == 0
    assert asker.program.logged()[-1]["msg"] == "ended by itself"
    assert await consumers(workflow) == []


async def test_an_error_of_its_own_ends_it_with_1(
    workflow: LiveWorkflow, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = await start(workflow, session, monkeypatch, "exit", ends="badly")
    asker.program.signal(signal.SIGTERM)
    assert await asker.program.ended() == 1
    assert "ValueError: as told" in asker.program.logged()[-1]["exception"]


async def test_a_crash_of_nats_server_costs_no_reply(
    workflow: LiveWorkflow, asker: Asker, nats_server: NatsServer
) -> None:
    requests = await workflow.listen("asker")
    asking = asyncio.create_task(asker.ask("before", request_id="before"))
    await heard(requests)
    await asyncio.to_thread(nats_server.kill)
    sending = asyncio.create_task(asker.ask("meanwhile", request_id="meanwhile"))
    await asyncio.to_thread(nats_server.start)
    async with connect(nats_server.url, name="test") as fresh:
        afresh = LiveWorkflow(fresh, nats_server.url, workflow.folder)
        await afresh.send("exit", "yes", "before")
        assert (await asking)["payload"] == "yes"
        await stored(afresh, "meanwhile")
        await afresh.send("exit", "also", "meanwhile")
        assert (await sending)["payload"] == "also"
        async with echoing(afresh):
            assert (await asker.ask("after"))["payload"] == "after"


async def stored(workflow: LiveWorkflow, request_id: str) -> None:
    async def found() -> bool:
        message = await workflow.connection.js.get_last_msg(workflow.stream, f"{workflow.stream}.asker")
        return decode(message.data or b"").request_id == request_id

    await eventually(found)


async def test_a_reply_that_was_sent_into_a_broken_connection_comes_after_all(
    workflow: LiveWorkflow,
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    nats_server: NatsServer,
) -> None:
    """JetStream counts it as delivered, and would deliver it again in 22 hours."""
    async with SwallowingProxy(nats_server.port).running() as proxy:
        workflow.url = proxy.url
        asker = await start(workflow, session, monkeypatch, "exit")
        requests = await workflow.listen("asker")
        asking = asyncio.create_task(asker.ask("what?", request_id="r", timeout=5))
        await heard(requests)
        proxy.swallow()
        await workflow.send("exit", "lost on the way", "r")
        await delivered(workflow)
        proxy.cut()
        assert (await asking)["payload"] == "lost on the way"


async def delivered(workflow: LiveWorkflow) -> None:
    async def pending() -> bool:
        return bool((await consumers(workflow))[0].num_ack_pending)

    await eventually(pending)


async def test_without_nats_a_request_is_an_error_in_time(
    workflow: LiveWorkflow, asker: Asker, nats_server: NatsServer
) -> None:
    await asyncio.to_thread(nats_server.kill)
    answer = await asker.ask(1, timeout=0.5)
    assert answer["type"] == "NatsUnavailableError"
    assert answer["error"].startswith("NATS: cannot publish on shop_v1_0_0_train.asker")
    asker.program.signal(signal.SIGTERM)
    assert await asker.program.ended() == 0
    await asker.program.said("stays behind")


@pytest.mark.parametrize(
    ("kind", "written_with", "said"),
    [
        ("trigger", "Process", "Remedy: write it with kai_airflow.process.Trigger"),
        ("task", "Trigger", "Remedy: write it with kai_airflow.process.Process"),
        ("trigger", "Trigger", "give it a function with @trigger.runner"),
    ],
)
async def test_the_wrong_class_for_a_process_ends_with_1_and_says_so(
    workflow: LiveWorkflow, tmp_path: Path, kind: str, written_with: str, said: str
) -> None:
    file = tmp_path / "program.py"
    file.write_text(f"from kai_airflow.process import {written_with}\n{written_with}().run()\n")
    app = workflow.app("asker", [])
    app["metadata"]["process_type"] = kind
    ran = await workflow.run(app, file)
    assert await ran.ended() == 1
    assert said in ran.logged()[-1]["msg"]


def test_a_runner_is_one_async_function() -> None:
    trigger = Trigger()
    with pytest.raises(ProcessError, match="no async function"):
        trigger.runner(print)  # type: ignore[type-var]

    @trigger.runner
    async def serve(stop: asyncio.Event) -> None: ...

    with pytest.raises(ProcessError, match="two runners"):
        trigger.runner(serve)


async def test_before_it_runs_it_cannot_send() -> None:
    with pytest.raises(ProcessError, match="can't send before its runner runs"):
        await Trigger().send(1)
    assert Process().config == {}


def test_a_port_is_the_declared_one_unless_the_environment_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (port(3000), address(3000)) == (3000, ("0.0.0.0", 3000))  # noqa: S104
    monkeypatch.setenv("KAI_AIRFLOW_PORT_3000", "41234")
    assert (port(3000), address(3000)) == (41234, ("127.0.0.1", 41234))
    assert port(8080) == 8080


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "-1", "1.5", "²"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KAI_AIRFLOW_PORT_3000", text)
    with pytest.raises(ProcessError, match="KAI_AIRFLOW_PORT_3000 is no port"):
        port(3000)


def test_the_name_of_a_reply_consumer() -> None:
    subject = names.input_subject(names.Stream("s_v1_0_0_w"), "exit.go")
    assert names.reply_consumer(subject, "asker", "u") == "s_v1_0_0_w-exit-go-asker-u"
