"""One try from its pod to its verdict: real nats-server, real processes in pods of the local Kubernetes API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from kubernetes_asyncio.client import ApiException

from kai_airflow import kube
from kai_airflow.messaging import drain
from kai_airflow.messaging.errors import RestlessError
from kai_airflow.operators import pods
from kai_airflow.operators.pods import KubeError
from kai_airflow.operators.supervisor import ProcessEndedError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

    from tests.operators.conftest import Kubernetes, Trial


async def test_a_try_is_done_when_all_is_acked_though_its_process_runs_on(trial: Trial) -> None:
    async with trial.supervised(trial.process()) as (supervisor, drained):
        assert await supervisor.until_done()
    assert trial.lines == ["got 1", "got 2", "got 3", "told to end"]
    assert len(drained.outputs) == 3


async def test_a_process_that_ends_before_it_has_acked_all_breaks_the_try(trial: Trial) -> None:
    with pytest.raises(ProcessEndedError, match=r"exit code 7 .* 2 of 3 messages not acked") as raised:
        async with trial.supervised(trial.process(exit_at=2, exit_code=7)) as (supervisor, _):
            await supervisor.until_done()
    assert str(raised.value).endswith("Its last lines:\n  got 1\n  got 2")


async def test_an_exit_code_of_zero_does_not_make_unfinished_work_done(trial: Trial) -> None:
    async with trial.supervised(trial.process(exit_at=3, exit_code=0)) as (supervisor, _):
        with pytest.raises(ProcessEndedError, match=r"exit code 0 .* 1 of 3 messages not acked"):
            await supervisor.until_done()


async def test_a_process_that_never_subscribes_ends_at_start_timeout_with_its_last_lines(trial: Trial) -> None:
    silent = trial.pod("sh", "echo no NATS here; sleep 1000")
    with pytest.raises(ProcessEndedError, match=r"didn't subscribe within 2 s \(start_timeout\)") as raised:
        async with trial.supervised(silent, start_timeout=2) as (supervisor, _):
            await supervisor.until_done()
    assert str(raised.value).endswith("Its last lines:\n  no NATS here")


async def test_an_image_that_is_not_there_is_noted_at_once_and_named_at_start_timeout(trial: Trial) -> None:
    with pytest.raises(ProcessEndedError, match=r"within 3 s .*: (ErrImagePull|ImagePullBackOff).*registry/typo:v1"):
        async with trial.supervised(trial.pod("registry/typo:v1", ""), start_timeout=3) as (supervisor, _):
            await supervisor.until_done()
    assert any("registry/typo:v1" in note for note in trial.notes)


async def test_a_pod_deleted_by_somebody_is_an_error_that_says_so(trial: Trial, api: CoreV1Api) -> None:
    async with trial.supervised(trial.pod("sh", "echo up; sleep 1000")) as (supervisor, _):
        ending = asyncio.create_task(supervisor.until_done())
        await api.delete_namespaced_pod(supervisor.pod.name, "default", grace_period_seconds=0)
        with pytest.raises(KubeError, match="was deleted while its process worked"):
            await ending


async def test_a_kubernetes_api_that_is_gone_is_an_error_after_a_while(
    trial: Trial, kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "PATIENCE_SECONDS", 2.0)
    async with trial.supervised(trial.pod("sh", "sleep 1000")) as (supervisor, _):
        kubernetes.stop()
        with pytest.raises(KubeError, match="cannot read pod"):
            await supervisor.until_done()


async def test_every_line_is_in_the_log_even_of_a_process_that_floods_and_ends(trial: Trial) -> None:
    async with trial.supervised(trial.pod("sh", "seq 1 20000")) as (supervisor, _):
        await supervisor.until_done()
    assert trial.lines == [str(n) for n in range(1, 20001)]


async def test_what_a_process_prints_when_it_is_told_to_end_is_in_the_log(trial: Trial) -> None:
    async with trial.supervised(trial.process(last_words="good bye")) as (supervisor, _):
        await supervisor.until_done()
    assert trial.lines[-1] == "good bye"


async def test_a_process_that_never_stops_publishing_is_an_error(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RESTLESS_SECONDS", 2.0)
    async with trial.supervised(trial.process(heartbeat=0.1)) as (supervisor, _):
        with pytest.raises(RestlessError, match="has acked everything and still publishes"):
            await supervisor.until_done()


async def test_a_pod_is_found_until_it_is_being_deleted(trial: Trial, api: CoreV1Api) -> None:
    pod = trial.pod("sh", "sleep 1000")
    name = kube.PodName(pod["metadata"]["name"], "default")
    assert await trial.pods.find(name) is None
    await trial.pods.create(pod)
    assert await trial.pods.find(name) is not None
    await trial.pods.delete(name)
    assert await trial.pods.find(name) is None


async def test_a_process_that_never_subscribed_and_ended_well_is_a_plain_one(trial: Trial) -> None:
    async with trial.supervised(trial.pod("sh", "echo done")) as (supervisor, _):
        assert not await supervisor.until_done()
    assert trial.lines == ["done"]


async def test_lines_that_were_said_before_are_not_said_again(trial: Trial) -> None:
    async with trial.supervised(trial.pod("sh", "seq 5")) as (supervisor, _):
        supervisor.said = 3
        await supervisor.until_done()
    assert trial.lines == ["4", "5"]
    assert supervisor.lines == 5


async def test_making_the_pod_of_a_try_twice_makes_one_pod(trial: Trial, api: CoreV1Api) -> None:
    pod = trial.pod("sh", "sleep 1000")
    first, second = await trial.pods.create(pod), await trial.pods.create(pod)
    assert first == second
    assert len((await api.list_namespaced_pod("default")).items) == 1


async def test_deleting_a_pod_that_is_gone_is_fine(trial: Trial, api: CoreV1Api) -> None:
    reference = await trial.pods.create(trial.pod("sh", "true"))
    await api.delete_namespaced_pod(reference.name, "default", grace_period_seconds=0)
    await trial.pods.delete(reference)


async def test_a_pod_that_kubernetes_refuses_is_an_error_at_once_with_its_reason(trial: Trial) -> None:
    pod = trial.pod("sh", "true")
    pod["metadata"]["labels"] = {"bad": "not a label!"}
    with pytest.raises(KubeError, match="422") as raised:
        await trial.pods.create(pod)
    assert isinstance(raised.value.__cause__, ApiException)


async def test_an_error_quotes_the_lines_of_an_sdk_readably_and_long_ones_in_part(trial: Trial) -> None:
    line = '{"level":"error","msg":"no model","request_id":"r1"}'
    with pytest.raises(ProcessEndedError) as raised:
        async with trial.supervised(trial.pod("sh", f"echo '{line}'; printf %2000d 1; exit 3")) as (supervisor, _):
            await supervisor.until_done()
    assert str(raised.value).endswith("Its last lines:\n  [request r1] no model\n  " + " " * 1000)
