"""The example's processes, as the image map starts them, wired live on KAI's own subjects."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kai_airflow import krt
from kai_airflow.demo.event import expected, push_event
from kai_airflow.messaging.codec import Message, MessageType, decode, unpack
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from tests.conftest import LiveWorkflow, Program

DAGS = Path(__file__).parents[2] / "dags"
KRT = yaml.safe_load((DAGS / "github-trainer" / "krt.yaml").read_text())
IMAGES = yaml.safe_load((DAGS / "images.yaml").read_text())
PROCESSES = {process["name"]: process for process in KRT["workflows"][0]["processes"]}
LAUNCHED = [name for name, process in PROCESSES.items() if process["type"] != "trigger"]
DEADLINE = 20.0


@pytest.fixture
async def pipeline(live: LiveWorkflow) -> LiveWorkflow:
    await live.prepare(PROCESSES)
    await asyncio.gather(*(start(live, name) for name in LAUNCHED))
    return live


async def start(live: LiveWorkflow, name: str) -> Program:
    process: dict[str, Any] = PROCESSES[name]
    python, *arguments = IMAGES[process["image"]]
    assert python == "python"
    program = await live.run(live.app(name, process["subscriptions"]), *arguments)
    await program.said(f"listening to {live.stream}.{process['subscriptions'][-1]}")
    return program


async def heard(listening: Subscription) -> Message:
    return decode((await listening.next_msg(DEADLINE)).data)


def test_every_image_that_is_launched_has_a_command() -> None:
    plans = [compile_product(krt.load(file).require()) for file in DAGS.glob("*/krt.yaml")]
    processes = [process for plan in plans for workflow in plan.workflows for process in workflow.processes]
    launched = {process.image for process in processes if process.type != "trigger" or process.live}
    assert launched == set(IMAGES)


async def test_a_push_event_ends_in_the_result_that_it_determines(pipeline: LiveWorkflow) -> None:
    results = await pipeline.listen("exit")
    await pipeline.send("github-trigger", push_event(7), "request-7")
    result = await heard(results)
    assert (result.request_id, result.from_node, result.type) == ("request-7", "exit", MessageType.OK)
    assert unpack(result.payload) == expected(push_event(7))


async def test_requests_at_the_same_time_are_not_mixed_up(pipeline: LiveWorkflow) -> None:
    results = await pipeline.listen("exit")
    for seed in range(10):
        await pipeline.send("github-trigger", push_event(seed), f"request-{seed}")
    answers = [await heard(results) for _ in range(10)]
    assert {answer.request_id: unpack(answer.payload) for answer in answers} == {
        f"request-{seed}": expected(push_event(seed)) for seed in range(10)
    }
    assert results.pending_msgs == 0


@pytest.mark.parametrize(("file", "language", "other"), [("a.py", "py", "go"), ("a.go", "go", "py")])
async def test_with_one_language_the_other_channel_stays_silent_and_there_is_a_result(
    pipeline: LiveWorkflow, file: str, language: str, other: str
) -> None:
    results, silent = await pipeline.listen("exit"), await pipeline.listen(f"splitter.{other}")
    event = {"body": {"commits": [{"added": [file]}]}}
    await pipeline.send("github-trigger", event)
    result = unpack((await heard(results)).payload)
    assert result == expected(event)
    assert (result["winner"], list(result["scores"])) == (language, [language])
    assert silent.pending_msgs == 0


async def test_a_request_that_comes_again_has_the_same_result_again(pipeline: LiveWorkflow) -> None:
    results = await pipeline.listen("exit")
    for _ in range(2):
        await pipeline.send("github-trigger", push_event(1), "request-1")
        assert unpack((await heard(results)).payload) == expected(push_event(1))
    await pipeline.send("github-trigger", push_event(2), "request-2")
    assert (await heard(results)).request_id == "request-2"  # and nothing a third time


async def test_what_is_no_push_event_is_answered_with_an_error(pipeline: LiveWorkflow) -> None:
    errors = await pipeline.listen("splitter")
    await pipeline.send("github-trigger", {"zen": "Keep it logically awesome."}, "request-1")
    error = await heard(errors)
    assert (error.request_id, error.type) == ("request-1", MessageType.ERROR)
    assert "not a GitHub push event" in error.error


async def test_all_of_them_end_with_0_when_told_to(pipeline: LiveWorkflow) -> None:
    for program in pipeline.programs:
        program.signal(signal.SIGTERM)
    assert await asyncio.gather(*(program.ended() for program in pipeline.programs)) == [0] * 5
