"""Messages of triggers on the whole stack: each becomes a run, and what comes of it goes back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.runs.gate import FRESH
from kai_airflow.messaging.codec import Message, MessageType, decode, encode, pack, unpack
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import messages
from kai_airflow.plan import names
from tests.stack.flows import LIMIT, SOON, Flow
from tests.stack.krts import add_images, krt, process
from tests.stack.pipelines import add_processes, command, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

RUN_SECONDS = 120.0
SECONDS = 2.0  # within which a message is a run


@dataclass(frozen=True)
class Workflow:
    """A product of one workflow whose runs do run."""

    stack: Stack
    api: AirflowApi
    product: str

    @property
    def dag_id(self) -> str:
        return f"{self.product}.work"

    @property
    def stream(self) -> names.Stream:
        return names.live_stream(self.product, "v1.0.0", "work")

    def publish(self, *requests: str, trigger: str = "start", channel: str = "") -> None:
        """A message for each of these request ids, which are their payloads as well."""
        subject = f"{self.stream}.{trigger}{channel and f'.{channel}'}"

        async def publish() -> None:
            async with connect(self.stack.nats_url, name="trigger") as connection:
                for one in requests:
                    data = encode(Message(one, pack({"n": one}), from_node=trigger), LIMIT)
                    await connection.js.publish(subject, data, stream=self.stream)

        asyncio.run(publish())

    def ended(self, count: int) -> list[Run]:
        """The runs that messages started, all of them, when they have ended."""
        until(lambda: len(self._started()) == count, RUN_SECONDS)
        return [self.api.wait_for_run(run, RUN_SECONDS) for run in self._started()]

    def _started(self) -> list[Run]:
        """In the order of their messages."""
        started = [run for run in self.api.runs(self.dag_id) if run.run_id.startswith("kai__")]
        return sorted(started, key=lambda run: Origin.from_conf(run.conf).sequences)

    def states(self, run: Run) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.api.tasks(run)}

    def replies(self) -> list[Message]:
        """All that ever went back."""

        async def read() -> list[Message]:
            async with connect(self.stack.nats_url, name="trigger") as connection:
                subject = str(names.output_subject(self.stream, "exit"))
                return [decode(raw.data or b"") async for raw in messages(connection, self.stream, subject)]

        return asyncio.run(read())

    def results(self, count: int) -> list[tuple[str, Any]]:
        """The request id and the payload of each reply, when there are so many."""
        until(lambda: len(self.replies()) >= count, RUN_SECONDS)
        return [(one.request_id, unpack(one.payload)) for one in self.replies()]


KRTS: Mapping[str, str] = {
    "replying": krt(
        process("start", "trigger", "none", "exit"),
        process("exit", "exit", "test/forward", "start"),
    ),
    "refusing": krt(
        process("start", "trigger", "none", "exit"),
        process("bad", "task", "test/refuse", "start", more=", x-airflow: {retries: 0}"),
        process("exit", "exit", "test/forward", "bad"),
    ),
    "two-triggers": krt(
        process("one", "trigger", "none"),
        process("two", "trigger", "none"),
        process("go", "task", "test/forward", "one.go"),
        process("other", "task", "test/forward", "two"),
        process("exit", "exit", "test/forward", "go", "other"),
    ),
    "fives": krt(
        process("start", "trigger", "none", "exit"),
        process("exit", "exit", "test/forward", "start"),
    ).replace("    processes:", "    x-airflow: {messages_per_run: 5}\n    processes:"),
    "living": krt(
        process("start", "trigger", "none", "exit"),
        process("exit", "exit", "test/forward", "start"),
    ).replace("type: training", "type: serving"),
}
FLOWS = ("quick", "waiting", "versioned")


@pytest.fixture(scope="module", autouse=True)
def _installed(stack: Stack, api: AirflowApi) -> None:
    """All at once: a file becomes a DAG, and is served, within seconds."""
    add_processes(stack)
    add_images(stack, {"test/refuse": command("refuse")})
    for product, text in KRTS.items():
        (stack.dags / product).mkdir()
        (stack.dags / product / "krt.yaml").write_text(text)
    flows = [Flow(stack, api, product).install() for product in FLOWS]
    for flow in flows:
        flow.wait_until_served()
    for product in KRTS:
        api.wait_for_dag(f"{product}.work", SOON)


def bridge_log(stack: Stack) -> str:
    return (stack.home.logs / "bridge.log").read_text()


def consumers(stack: Stack, stream: str) -> list[str]:
    async def listed() -> list[str]:
        async with connect(stack.nats_url, name="test") as connection:
            return [info.name for info in await connection.js.consumers_info(stream)]

    return asyncio.run(listed())


def test_a_message_is_a_run_within_two_seconds(stack: Stack, api: AirflowApi) -> None:
    flow = Flow(stack, api, "quick")
    for number in range(5):
        with flow.publishing([number]):
            pass
        until(lambda: flow.count() == number + 1, SECONDS)  # noqa: B023 - it is waited for here
    flow.wait()
    flow.assert_each_once(range(5))


def test_a_result_goes_back_once_though_its_run_is_cleared_and_none_of_a_run_that_a_person_started(
    stack: Stack, api: AirflowApi
) -> None:
    workflow = Workflow(stack, api, "replying")
    workflow.publish("first")
    (run,) = workflow.ended(1)
    assert run.state == "success"
    assert workflow.results(1) == [("first", {"n": "first"})]
    api.clear(run)
    own = api.start_run(workflow.dag_id, {"payload": {"n": "mine"}, "request_id": "mine"})
    assert {api.wait_for_run(one, RUN_SECONDS).state for one in (run, own)} == {"success"}
    workflow.publish("second")  # answers go out in the order in which runs end
    assert workflow.results(2) == [("first", {"n": "first"}), ("second", {"n": "second"})]


def test_a_failed_run_is_answered_by_an_error_of_its_exit_once(stack: Stack, api: AirflowApi) -> None:
    workflow = Workflow(stack, api, "refusing")
    workflow.publish("first")
    (run,) = workflow.ended(1)
    assert run.state == "failed"
    workflow.publish("second")
    assert [one for one, _ in workflow.results(2)] == ["first", "second"]
    for reply in workflow.replies():
        assert (reply.type, reply.from_node) == (MessageType.ERROR, "exit")
        assert reply.error.endswith("failed: bad")


def test_a_message_of_one_of_two_triggers_reaches_the_subscribers_of_its_channel_alone(
    stack: Stack, api: AirflowApi
) -> None:
    workflow = Workflow(stack, api, "two-triggers")
    workflow.publish("a", trigger="one", channel="go")
    workflow.publish("b", trigger="two")
    workflow.publish("c", trigger="one")
    runs = workflow.ended(3)
    assert [workflow.states(run) for run in runs] == [
        {"one": "success", "two": "skipped", "go": "success", "other": "skipped", "exit": "success"},
        {"one": "skipped", "two": "success", "go": "skipped", "other": "success", "exit": "success"},
        {"one": "success", "two": "skipped", "go": "skipped", "other": "skipped", "exit": "skipped"},
    ]


def test_a_run_of_five_messages_gives_each_request_its_result(stack: Stack, api: AirflowApi) -> None:
    workflow = Workflow(stack, api, "fives")
    requests = [f"request-{number}" for number in range(10)]
    workflow.publish(*requests)
    runs = workflow.ended(2)
    assert [run.conf["request_ids"] for run in runs] == [requests[:5], requests[5:]]
    assert {run.state for run in runs} == {"success"}
    assert sorted(workflow.results(10)) == [(one, {"n": one}) for one in requests]


def test_messages_of_a_paused_dag_wait_and_start_runs_when_it_goes_on(stack: Stack, api: AirflowApi) -> None:
    flow = Flow(stack, api, "waiting")
    api.pause(flow.dag_id, paused=True)
    with flow.publishing(range(3)):
        until(lambda: f"messages for {flow.dag_id} wait: it is paused" in bridge_log(stack))
    assert flow.count() == 0
    api.pause(flow.dag_id, paused=False)
    flow.wait()
    flow.assert_each_once(range(3))


def test_a_new_version_takes_over_the_messages_that_the_old_one_has_left(stack: Stack, api: AirflowApi) -> None:
    old = Flow(stack, api, "versioned")
    new = replace(old, version="v1.0.1")
    with old.publishing(range(3)):
        pass
    old.wait()
    time.sleep(FRESH)  # for so long the bridge goes by what it knows
    api.pause(old.dag_id, paused=True)
    with old.publishing(range(3, 6)):
        until(lambda: f"messages for {old.dag_id} wait: it is paused" in bridge_log(stack))
    new.install()
    new.wait_until_served()
    with new.publishing(range(3)):
        pass
    assert api.count_runs(old.dag_id) == 3
    api.pause(old.dag_id, paused=False)
    for flow in (old, new):
        flow.wait()
    assert api.count_runs(old.dag_id) == 9
    old.assert_each_once(range(6))
    new.assert_each_once(range(3))


def test_messages_of_a_streaming_workflow_are_left_to_its_processes(stack: Stack, api: AirflowApi) -> None:
    workflow = Workflow(stack, api, "living")
    workflow.publish("one")
    quick = Flow(stack, api, "quick")
    with quick.publishing([1000]):
        pass
    quick.wait()
    assert api.runs(workflow.dag_id) == []
    assert not any(name.startswith(names.BRIDGE) for name in consumers(stack, workflow.stream))
