"""Streaming workflows on the whole stack: their processes live on, and runs send their requests into them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.local.published import published
from tests.stack.krts import add_images, krt, process, until
from tests.stack.parts import kill
from tests.stack.test_backfill import backfill, backfilled

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

DAG = "live.work"
TASKS = ("start", "forward", "out")
RUN_SECONDS = 180
PROCESSES = Path(__file__).with_name("processes.py")


@pytest.fixture(scope="module")
def live(stack: Stack, api: AirflowApi) -> AirflowApi:
    """The DAGs of a streaming product, unpaused."""
    images = {f"live-{name}": [sys.executable, str(PROCESSES), name] for name in ("forward", "refuse")}
    add_images(stack, images)
    text = krt(
        process("start", "trigger", "live-forward", more=", config: {cron: '0 0 6 * * *', message: hello}"),
        process("forward", "task", "live-forward", "start"),
        process("out", "exit", "live-forward", "forward"),
    )
    failing = krt(
        process("start", "trigger", "live-forward", more=", config: {cron: '0 0 6 * * *'}"),
        process("refuse", "task", "live-refuse", "start"),
        process("out", "exit", "live-forward", "refuse"),
        workflow="failing",
    )
    for product, written in (("live", text), ("unwilling", failing)):
        folder = stack.dags / product
        folder.mkdir()
        (folder / "krt.yaml").write_text(written.replace("type: training", "type: serving"))
    for dag_id in (DAG, "unwilling.failing"):
        api.wait_for_dag(dag_id, 60)
        api.pause(dag_id, paused=False)
    return api


def results(stack: Stack, api: AirflowApi, run: Run, task: str) -> list[Any]:
    return asyncio.run(published(stack.nats_url, api.xcom(run, task, "manifest")))


def ended(api: AirflowApi, run: Run) -> dict[str, str | None]:
    api.wait_for_run(run, RUN_SECONDS)
    return {task.task_id: task.state for task in api.tasks(run)}


def test_a_run_by_hand_goes_through_the_live_processes(stack: Stack, live: AirflowApi) -> None:
    run = live.start_run(DAG, {"payload": {"n": 1}})
    assert ended(live, run) == dict.fromkeys(TASKS, "success")
    assert results(stack, live, run, "out") == [{"n": 1}]
    for task in ("forward", "out"):
        assert 0 < live.xcom(run, task, "manifest")["latency"] < RUN_SECONDS


def test_a_backfill_goes_through_the_live_processes(stack: Stack, live: AirflowApi) -> None:
    backfill(stack, DAG, "2026-03-01", "2026-03-03")
    runs = backfilled(live, DAG)
    assert len(runs) >= 2
    for moment, run in runs.items():
        assert run.state == "success"
        (said,) = results(stack, live, run, "out")
        assert (said["message"], said["logical_date"]) == ("hello", moment.isoformat())


def test_a_cleared_run_has_its_request_handled_again(stack: Stack, live: AirflowApi) -> None:
    run = live.start_run(DAG, {"payload": "again"})
    ended(live, run)
    first = live.xcom(run, "out", "manifest")
    live.clear(run)
    assert ended(live, run) == dict.fromkeys(TASKS, "success")
    second = live.xcom(run, "out", "manifest")
    assert first["channels"] != second["channels"]
    assert results(stack, live, run, "out") == ["again"]


def test_an_error_of_a_live_process_fails_its_task_with_its_text(live: AirflowApi) -> None:
    run = live.start_run("unwilling.failing", {"payload": 7})
    assert ended(live, run) == {"start": "success", "refuse": "failed", "out": "upstream_failed"}
    assert "cannot work on 7" in "\n".join(live.log(run, "refuse"))


def test_a_live_process_that_is_killed_is_waited_for(stack: Stack, live: AirflowApi) -> None:
    run = live.start_run(DAG, {"payload": "after"})
    live.wait_for_start(DAG, run.run_id, 60)
    kill(f"{PROCESSES} forward")
    assert ended(live, run) == dict.fromkeys(TASKS, "success")
    assert results(stack, live, run, "out") == ["after"]


def test_a_schedule_starts_runs_of_a_streaming_workflow(stack: Stack, api: AirflowApi, live: AirflowApi) -> None:
    folder = stack.dags / "once"
    folder.mkdir()
    text = (stack.dags / "live" / "krt.yaml").read_text()
    scheduled = text.replace("type: serving", "type: serving\n    x-airflow: {schedule: '@once'}")
    (folder / "krt.yaml").write_text(scheduled)
    api.wait_for_dag("once.work", 60)
    api.pause("once.work", paused=False)
    until(lambda: api.count_runs("once.work") > 0, 60)
    (run,) = api.runs("once.work")
    assert ended(live, run) == dict.fromkeys(TASKS, "success")
