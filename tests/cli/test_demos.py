"""What the demonstrations do with a trigger: against a real one, on its own port."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from kai_airflow import krt
from kai_airflow.cli import demo_serving, demo_training
from kai_airflow.demo.event import push_event
from kai_airflow.demo.webhook import PATH
from kai_airflow.local import ports
from kai_airflow.local.errors import StackError
from kai_airflow.messaging.codec import unpack
from kai_airflow.plan import Workflow, compile_product
from tests.conftest import LiveWorkflow, heard
from tests.demo import callers

DAGS = Path(__file__).parents[2] / "dags"


def workflow(product: str) -> Workflow:
    (found,) = compile_product(krt.load(DAGS / product / "krt.yaml").require()).workflows
    return found


async def test_the_push_event_is_signed_as_the_krt_says(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    await live.prepare(["github-trigger"])
    process = callers.processes("github-trainer")[demo_training.TRIGGER]
    _, url = await callers.start_server(live, process, monkeypatch)
    requests = await live.listen("github-trigger")
    request_id = await asyncio.to_thread(demo_training.post, f"{url}{PATH}", workflow("github-trainer"))
    request = await heard(requests)
    assert (request.request_id, unpack(request.payload)) == (request_id, push_event(demo_training.SEED))


async def test_a_trigger_that_refuses_is_told(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    await live.prepare(["github-trigger"])
    process = callers.processes("github-trainer")[demo_training.TRIGGER]
    _, url = await callers.start_server(live, process, monkeypatch, github_secret="another")
    with pytest.raises(StackError, match="401 Unauthorized"):
        await asyncio.to_thread(demo_training.post, f"{url}{PATH}", workflow("github-trainer"))


async def test_the_calls_are_shown_with_their_answers_and_times(
    live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = callers.processes("house-prices")
    await live.prepare(processes)
    _, url = await callers.start_server(live, processes[demo_serving.TRIGGER], monkeypatch)
    for name, process in processes.items():
        if name != demo_serving.TRIGGER:
            program = await callers.start(live, process)
            await program.said(f"listening to {live.stream}.{process['subscriptions'][-1]}")
    shown = io.StringIO()
    assert await asyncio.to_thread(demo_serving.call, f"{url}/price", Console(file=shown, width=200))
    *answers, refused, times = shown.getvalue().splitlines()
    assert len(answers) == demo_serving.SHOWN
    assert all('200 {"message": "' in line for line in answers)
    assert "400" in refused
    assert times.startswith(f"{len(demo_serving.HOUSES)} calls: median ")


def test_a_trigger_that_is_not_there_is_told() -> None:
    nobody = f"http://127.0.0.1:{ports.free(1)[0]}"
    with pytest.raises(StackError, match=r"rest-trigger: .*Remedy"):
        demo_serving.call(nobody, Console(file=io.StringIO()))
    with pytest.raises(StackError, match=r"github-trigger: .*Remedy"):
        demo_training.post(nobody, workflow("github-trainer"))
