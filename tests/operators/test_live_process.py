"""The tasks of live processes: a real nats-server, and real processes that live beside the runs."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kai_airflow.kube import CONTAINER
from kai_airflow.kube.objects import labels
from kai_airflow.messaging import codec, hop
from kai_airflow.messaging.tries import Manifest
from kai_airflow.operators import live_process
from kai_airflow.operators.live_process import NotHandledError
from kai_airflow.plan import names
from tests.operators.live_runs import (
    STREAMING,
    Lines,
    Run,
    counts,
    done,
    lines,
    prepared,
    ready,
    said_by,
    site,
)
from tests.streaming import consumer_of, process_of, started, streaming

if TYPE_CHECKING:
    from pathlib import Path

    from kubernetes_asyncio.client import CoreV1Api

    from kai_airflow.plan import Workflow
    from tests.conftest import LiveWorkflow, NatsServer
    from tests.operators.conftest import Kubernetes

__all__ = ["lines", "ready", "site"]  # fixtures


async def test_a_request_goes_through_the_live_processes_and_each_task_tells_what_became_of_it(
    ready: LiveWorkflow,
) -> None:
    await started(ready)
    await started(ready, "out", "worker")
    run = Run({"payload": {"x": 1}, "request_id": "mine"})
    sent = await done(run, "trigger")
    assert (sent.stream, sent.fed, sent.good, sent.bad, counts(sent)) == (ready.stream, 1, 1, 0, {"": 1})
    worked = await done(run, "worker")
    assert (worked.fed, worked.good, worked.bad, counts(worked)) == (1, 1, 0, {"": 1})
    assert await said_by(ready, worked) == [{"got": {"x": 1}, "error": ""}]
    assert worked.latency is not None
    assert 0 < worked.latency < 20
    out = await done(run, "out")
    assert await said_by(ready, out) == ["the rest: worker"]
    (sequence,) = sent.sequences
    message = codec.decode((await ready.connection.js.get_msg(ready.stream, sequence)).data or b"")
    assert (message.request_id, message.from_node) == ("mine", "trigger")


async def test_a_manifest_says_the_latency_in_stream_times(ready: LiveWorkflow) -> None:
    """However late the task looks."""
    await started(ready)
    outputs = await ready.listen("worker")
    run = Run()
    sent = await done(run, "trigger")
    await outputs.next_msg(20)
    left = await done(run, "worker")
    times = [(await ready.connection.js.get_msg(ready.stream, n)).time for n in (*sent.sequences, *left.sequences)]
    assert left.latency == pytest.approx((times[1] - times[0]).total_seconds(), abs=1e-5)  # type: ignore[operator]
    assert Manifest.from_json(left.to_json()) == left


async def test_an_error_fails_the_task_for_good_with_its_text(ready: LiveWorkflow) -> None:
    await started(ready)
    run = Run({"payload": {"do": "fail"}, "request_id": "mine"})
    await done(run, "trigger")
    with pytest.raises(AirflowFailException, match="request mine: ValueError: as told"):
        await done(run, "worker")
    left = Manifest.from_json(run.xcoms["worker"])
    assert (left.fed, left.good, left.bad, counts(left)) == (1, 0, 1, {})


async def test_an_error_travels_on_where_the_krt_says_so(live: LiveWorkflow) -> None:
    workflow = streaming(says="{on_message_error: continue}")
    await prepared(live, workflow)
    await started(live)
    await started(live, "out", "worker")
    run = Run({"payload": {"do": "fail"}})
    await done(run, "trigger", workflow)
    assert counts(await done(run, "worker", workflow)) == {"": 1}
    assert counts(await done(run, "out", workflow)) == {"": 1}


async def test_an_ack_without_an_output_is_no_failure_and_what_hears_it_is_skipped(ready: LiveWorkflow) -> None:
    await started(ready)
    run = Run({"payload": {"do": "channels", "names": []}})
    await done(run, "trigger")
    left = await done(run, "worker")
    assert (left.good, left.bad, counts(left), left.latency) == (1, 0, {}, None)
    with pytest.raises(AirflowSkipException):
        await done(run, "out")


async def test_channels_are_kept_apart(ready: LiveWorkflow) -> None:
    await started(ready)
    run = Run({"payload": {"do": "channels", "names": ["a", "b.c", "a"]}})
    await done(run, "trigger")
    assert counts(await done(run, "worker")) == {"a": 2, "b.c": 1}
    with pytest.raises(AirflowSkipException):
        await done(run, "out")  # it hears the bare subject


async def test_a_process_is_waited_for_as_long_as_it_works(ready: LiveWorkflow) -> None:
    worker = await started(ready)
    run = Run({"payload": {"do": "wait"}})
    await done(run, "trigger")
    waiting = asyncio.create_task(done(run, "worker"))
    await worker.said("busy")
    await asyncio.sleep(1.5)
    assert not waiting.done()
    worker.signal(signal.SIGUSR1)
    assert await said_by(ready, await waiting) == ["waited"]


async def test_a_process_that_is_down_is_waited_for_with_the_reason(
    ready: LiveWorkflow, lines: Lines, kubernetes: Kubernetes, api: CoreV1Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_process, "_ASK_AGAIN_SECONDS", 0.5)
    extra = {"kube_config_path": str(kubernetes.home / "kubeconfig")}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    run = Run()
    await done(run, "trigger")
    waiting = asyncio.create_task(done(run, "worker"))
    said = await lines.said("nobody listens")
    assert consumer_of(STREAMING, "worker") in said
    assert "its Deployment shop-v1-0-0-train-worker has no pod. Remedy" in said
    metadata = {"name": "p", "labels": labels(STREAMING, process_of(STREAMING, "worker"))}
    spec = {"containers": [{"name": CONTAINER, "image": "missing"}], "restartPolicy": "Never"}
    pod: Any = {"metadata": metadata, "spec": spec}
    await api.create_namespaced_pod("default", pod)
    assert "missing" in await lines.said("has a pod that waits: ")
    await started(ready)
    assert (await waiting).good == 1


async def test_where_kubernetes_cant_be_asked_that_is_told(
    ready: LiveWorkflow, lines: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra = {"kube_config_path": str(tmp_path / "missing")}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    run = Run()
    await done(run, "trigger")
    waiting = asyncio.create_task(done(run, "worker"))
    assert "isn't known" in await lines.said("nobody listens")
    await started(ready)
    assert (await waiting).good == 1


async def test_a_process_that_stays_down_is_given_up_with_the_reason(live: LiveWorkflow) -> None:
    workflow = streaming(says="{start_timeout: 1}")
    await prepared(live, workflow)
    run = Run()
    await done(run, "trigger", workflow)
    with pytest.raises(NotHandledError, match=r"1 s \(start_timeout\): nobody listens on consumer .*-trigger-worker"):
        await done(run, "worker", workflow)


async def test_a_process_that_never_acks_is_given_up(ready: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_process, "ANSWER_SECONDS", 1.0)
    await started(ready)
    run = Run({"payload": {"do": "wait"}})
    await done(run, "trigger")
    with pytest.raises(NotHandledError, match=r"'worker' wasn't done .* doesn't ack.*Remedy"):
        await done(run, "worker")


async def test_a_request_that_its_consumer_could_never_deliver_fails_for_good(ready: LiveWorkflow) -> None:
    run = Run()
    await done(run, "trigger")
    await ready.connection.js.delete_consumer(ready.stream, consumer_of(STREAMING, "worker"))
    await prepared(ready, STREAMING)
    with pytest.raises(AirflowFailException, match=r"was made after message 1 .*Remedy: clear"):
        await done(run, "worker")


async def test_a_request_that_has_expired_fails_for_good(ready: LiveWorkflow) -> None:
    run = Run()
    await done(run, "trigger")
    await ready.connection.js.purge_stream(ready.stream)
    with pytest.raises(AirflowFailException, match="no longer holds message 1"):
        await done(run, "worker")


async def test_what_others_ask_hardly_slows_a_task_down_and_is_not_taken_for_its_own(ready: LiveWorkflow) -> None:
    """Thousands of requests before and behind, and more while it looks."""
    await started(ready)
    ended = asyncio.Event()

    async def load() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            await ready.send("trigger", number, f"other-{number}")

    loading = asyncio.create_task(load())
    run = Run({"payload": "mine"})
    outputs = await ready.listen("worker")
    for _ in range(500):
        await outputs.next_msg(20)
    await done(run, "trigger")
    for _ in range(2000):
        await outputs.next_msg(20)
    began = asyncio.get_running_loop().time()
    left = await done(run, "worker")
    took = asyncio.get_running_loop().time() - began
    ended.set()
    await loading
    assert await said_by(ready, left) == [{"got": "mine", "error": ""}]
    assert took < 10


async def test_a_message_that_holds_the_floor_holds_up_no_other(live: LiveWorkflow) -> None:
    """One of two replicas works on, and the other's request was handled before its task looked."""
    workflow = streaming(replicas=2)
    await prepared(live, workflow)
    first = await started(live)
    await live.send("trigger", {"do": "wait"}, "stuck")
    await first.said("busy")
    first.signal(signal.SIGSTOP)  # what comes next for it lies there
    await started(live)
    run = await handled(live, workflow)
    hop_seconds, hop.OVERTAKEN_SECONDS = hop.OVERTAKEN_SECONDS, 2.0
    try:
        left = await done(run, "worker", workflow)
    finally:
        hop.OVERTAKEN_SECONDS = hop_seconds
    assert (left.good, counts(left)) == (1, {"": 1})


async def handled(live: LiveWorkflow, workflow: Workflow) -> Run:
    """A run whose request one of the replicas has answered: the server chooses among them."""
    outputs = await live.listen("worker")
    while True:
        run = Run()
        await done(run, "trigger", workflow)
        try:
            await outputs.next_msg(1)
        except TimeoutError:
            continue
        return run


CIRCLE = """      - {name: again, type: task, image: i, resourceLimits: {CPU: {request: 100m}, memory: {request: 1M}},
         subscriptions: [worker.more]}"""


async def test_in_a_circle_each_task_tells_all_that_its_process_published(live: LiveWorkflow) -> None:
    workflow = streaming(work="trigger, again", more=CIRCLE)
    await prepared(live, workflow)
    run = Run({"payload": 3})
    await done(run, "trigger", workflow)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(done(run, "worker", workflow))]
        group.create_task(around(live, rounds=3))
    worked = await tasks[0]
    assert (worked.fed, counts(worked)) == (4, {"more": 3, "": 1})
    again = await done(run, "again", workflow)
    assert (again.fed, counts(again)) == (3, {"": 3})


async def around(live: LiveWorkflow, rounds: int) -> None:
    """Both processes of the circle: the worker publishes for the other one so often, then for the exit."""

    async def take(subscription: str, process: str) -> Any:
        consumer = names.consumer(names.input_subject(live.stream, subscription), process)
        return await live.connection.nc.subscribe(f"_INBOX.{consumer}", queue=consumer)

    first, back = await take("trigger", "worker"), await take("again", "worker")
    more = await take("worker.more", "again")
    taken = await first.next_msg(20)
    request_id = codec.decode(taken.data).request_id
    for _ in range(rounds):
        data = codec.encode(codec.Message(request_id, codec.pack(1), from_node="worker"), 1 << 20)
        await live.connection.js.publish(f"{live.stream}.worker.more", data)
        await taken.ack()
        there = await more.next_msg(20)
        await asyncio.sleep(0.8)  # longer than a task waits for something new
        await live.send("again", 2, request_id)
        await there.ack()
        taken = await back.next_msg(20)
    await live.send("worker", 3, request_id)
    await taken.ack()


async def test_a_task_outlasts_a_nats_server_that_is_killed(ready: LiveWorkflow, nats_server: NatsServer) -> None:
    worker = await started(ready)
    run = Run({"payload": {"do": "wait"}})
    await done(run, "trigger")
    waiting = asyncio.create_task(done(run, "worker"))
    await worker.said("busy")
    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)
    worker.signal(signal.SIGUSR1)
    left = await waiting
    assert (left.good, set(await said_by(ready, left))) == (1, {"waited"})
