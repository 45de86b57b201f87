"""Whatever dies in the middle of a run, each good result is at its exit once. kill -9 of real servers and workers."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors
import pytest
from kubernetes import client, config
from nats.js.errors import NotFoundError

from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.feed import fed
from kai_airflow.messaging.tries import Try
from kai_airflow.plan.names import Stream
from tests.stack.parts import kill, part_process, stopped, task_processes
from tests.stack.pipelines import COUNT, Pipeline, add_processes, until

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

pytestmark = pytest.mark.timeout(600)

ALL = list(range(COUNT))
GONE = 30.0  # seconds within which the pod of an ended task must be gone
MANY = 3000  # requests that take seconds to feed
DEFERRED = "{retries: 3, retry_delay: 0, deferrable: true}"


@pytest.fixture(scope="module", autouse=True)
def _processes(stack: Stack) -> None:
    add_processes(stack)


def pipeline(stack: Stack, api: AirflowApi, product: str, **settings: str) -> Pipeline:
    return Pipeline(stack, api, product, settings=settings).install()


def objects(stack: Stack, process: str) -> set[str]:
    """The pods and Secrets that a process has now."""
    with client.ApiClient(config.new_client_from_config(str(stack.kubeconfig)).configuration) as kubernetes:
        core = client.CoreV1Api(kubernetes)
        listed = [*core.list_namespaced_pod("default").items, *core.list_namespaced_secret("default").items]
    return {
        f"{type(one).__name__} {one.metadata.name}" for one in listed if one.metadata.name.startswith(f"{process}-")
    }


def fed_to(stack: Stack, stream: str) -> dict[str, int]:
    """How many messages stand on each try's input."""

    async def count() -> dict[str, int]:
        async with connect(stack.nats_url, name="test") as connection:
            try:
                state = (await connection.js.stream_info(stream, subjects_filter=f"{stream}.in.*")).state
            except NotFoundError:
                return {}
        return dict(state.subjects or {})

    return asyncio.run(count())


def sources_of(stack: Stack, stream: str, subject: str) -> list[int]:
    """What stands on a try's input, as the sequences that it is a copy of."""

    async def read() -> list[int]:
        async with connect(stack.nats_url, name="test") as connection:
            share = await fed(connection, Try(Stream(stream), subject.rpartition(".")[2], "mid"))
        return [one.source for one in share.inputs]

    return asyncio.run(read())


def kill_worker(pipe: Pipeline, run: Run, task: str = "mid") -> None:
    """End the task's process and Airflow's supervisor of it, at once."""
    found = task_processes(pipe.api, run, task)
    assert found
    for process in found:
        os.kill(process, signal.SIGKILL)


def test_a_worker_that_dies_while_its_pod_runs_is_followed_by_one_that_adopts_the_pod(
    stack: Stack, api: AirflowApi
) -> None:
    pipe = pipeline(stack, api, "adopted", delay="0.1")
    run = pipe.start()
    pipe.at_work(20)
    kill_worker(pipe, run)
    pipe.assert_each_once(pipe.end(run))
    assert pipe.taken() == ALL
    assert pipe.lives() == 1
    assert "going on with pod" in pipe.log(run, number=2)


def test_a_worker_that_is_told_to_end_leaves_its_pod_to_the_next_try(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "terminated", delay="0.1")
    run = pipe.start()
    pipe.at_work(20)
    for process in task_processes(api, run, "mid"):
        os.kill(process, signal.SIGTERM)
    pipe.assert_each_once(pipe.end(run))
    assert (pipe.taken(), pipe.lives()) == (ALL, 1)


def test_a_worker_that_dies_while_feeding_feeds_no_try_twice(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "half-fed")
    run = pipe.start(MANY)
    until(lambda: any(50 < count < MANY for count in fed_to(stack, pipe.stream).values()))
    kill_worker(pipe, run)
    pipe.assert_each_once(pipe.end(run), MANY)
    assert pipe.taken() == list(range(MANY))
    for subject in fed_to(stack, pipe.stream):
        sources = sources_of(stack, pipe.stream, subject)
        assert len(sources) == len(set(sources))


def test_a_worker_that_dies_between_verdict_and_xcom_leaves_a_result_that_counts_once(
    stack: Stack, api: AirflowApi
) -> None:
    """Airflow's API doesn't answer: the worker can't get rid of its manifest, and dies over it."""
    pipe = pipeline(stack, api, "verdict", delay="0.05")
    run = pipe.start()
    pipe.at_work(5)
    workers = task_processes(api, run, "mid")
    with stopped(part_process("airflow api_server")):
        pipe.at_work(COUNT)
        await_verdict(stack, pipe)
        for process in workers:
            os.kill(process, signal.SIGKILL)
    pipe.assert_each_once(pipe.end(run))
    assert pipe.taken() == ALL


def await_verdict(stack: Stack, pipe: Pipeline) -> None:
    """Wait until a task doesn't ask any more how far its process is; it asks each second."""

    async def silence() -> None:
        async with connect(stack.nats_url, name="test") as connection:
            questions = await connection.nc.subscribe(f"$JS.API.CONSUMER.INFO.{pipe.stream}.>")
            with suppress(nats.errors.TimeoutError):
                while True:
                    await questions.next_msg(timeout=2)

    asyncio.run(silence())


def test_a_nats_server_that_dies_while_feeding_loses_nothing(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "nats-feeding")
    run = pipe.start(MANY)
    until(lambda: any(50 < count < MANY for count in fed_to(stack, pipe.stream).values()))
    kill("nats-server --config")
    pipe.assert_each_once(pipe.end(run), MANY)


def test_a_nats_server_that_dies_while_draining_breaks_the_try_which_is_retried(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "nats-draining", delay="0.1")
    run = pipe.start()
    pipe.at_work(20)
    kill("nats-server --config")
    pipe.assert_each_once(pipe.end(run))
    assert "nats-server was restarted or lost" in pipe.log(run, number=1)


def test_a_nats_server_that_dies_between_tasks_isnt_noticed(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "nats-between", delay="0.02")
    run = pipe.start()
    until(lambda: pipe.states(run)["mid"] == "success")
    kill("nats-server --config")
    pipe.assert_each_once(pipe.end(run))


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("waiting", "airflow scheduler"),
        ("waiting", "airflow api_server"),
        ("deferred", "airflow triggerer"),
        ("deferred", "airflow scheduler"),
    ],
)
def test_a_part_of_airflow_that_dies_ends_or_doubles_no_pod(
    stack: Stack, api: AirflowApi, kind: str, part: str
) -> None:
    pipe = pipeline(stack, api, f"{kind[:5]}-{part[8:11]}", delay="0.1")
    if kind == "deferred":
        pipe.extension = DEFERRED
        pipe.install()
    run = pipe.start()
    until(lambda: kind == "waiting" or pipe.states(run)["mid"] == "deferred")
    pipe.at_work(20)
    kill(part)
    pipe.assert_each_once(pipe.end(run))
    assert (pipe.taken(), pipe.lives()) == (ALL, 1)


def test_a_kubernetes_api_that_dies_is_the_reason_or_the_run_ends_well(stack: Stack, api: AirflowApi) -> None:
    """The local API's pods die with it, so the try breaks; the next one does what is left."""
    pipe = pipeline(stack, api, "kubernetes", delay="0.1")
    run = pipe.start()
    pipe.at_work(20)
    kill("kai_airflow.local.kubernetes")
    pipe.assert_each_once(pipe.end(run))
    assert "was deleted while its process worked" in pipe.log(run, number=1)


@pytest.mark.parametrize("extension", ["{retries: 0}", "{retries: 0, deferrable: true}"])
def test_the_pod_of_a_task_that_somebody_ends_is_gone_soon(stack: Stack, api: AirflowApi, extension: str) -> None:
    deferred = "true" in extension
    pipes = {}
    for what in ("success", "failed", "cleared", "deleted"):
        pipes[what] = pipeline(stack, api, f"{what}-{'later' if deferred else 'now'}", delay="0.5")
        pipes[what].extension = extension
        pipes[what].install()
    runs = {what: pipe.start() for what, pipe in pipes.items()}
    for what, pipe in pipes.items():
        if deferred:
            until(lambda pipe=pipe, run=runs[what]: pipe.states(run)["mid"] == "deferred")  # type: ignore[misc]
        pipe.at_work(2)
    before = objects(stack, "mid")
    assert len(before) == 8
    api.mark(runs["success"], "mid", "success")
    api.mark(runs["failed"], "mid", "failed")
    api.clear(runs["cleared"], ["mid"])
    api.end_run(runs["deleted"], "failed")
    api.delete_run(runs["deleted"])
    until(lambda: not before & objects(stack, "mid"), GONE)
    api.end_run(runs["cleared"], "failed")
    until(lambda: not objects(stack, "mid"), GONE)


def test_a_pod_whose_worker_was_killed_and_whose_task_nobody_retries_is_found_and_ended(
    stack: Stack, api: AirflowApi
) -> None:
    pipe = pipeline(stack, api, "orphan", delay="0.5")
    run = pipe.start()
    pipe.at_work(2)
    kill_worker(pipe, run)
    api.mark(run, "mid", "failed")
    assert objects(stack, "mid")
    until(lambda: not objects(stack, "mid"), GONE)


def test_execution_timeout_ends_the_pod_and_the_next_try_does_what_is_left(stack: Stack, api: AirflowApi) -> None:
    pipe = pipeline(stack, api, "too-slow", delay="0.3")
    pipe.extension = "{retries: 10, retry_delay: 0, execution_timeout: 8}"
    pipe.install()
    run = pipe.start(40)
    pipe.assert_each_once(pipe.end(run), 40)
    assert pipe.tries(run) > 1
    assert "keeping what an earlier try did well" in pipe.log(run, number=2)
