"""What a container prints, read from the local Kubernetes API through connections that break."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from kubernetes_asyncio import client

from kai_airflow.kube import PodName
from kai_airflow.operators import output
from kai_airflow.operators.output import read_output
from kai_airflow.operators.pods import Pods
from tests.operators.cutting import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kubernetes_asyncio.client import CoreV1Api

POD = PodName("p", "default")

# Bursts of lines that bear one time, empty lines, a line longer than what is given at once, and no end at the end.
TEXT = """
def text():
    for burst in range(30):
        yield "".join(f"{burst}.{n} äöü €\\n" * (n % 3 != 1) + "\\n" * (n % 50 == 0) for n in range(200))
        if burst % 10 == 9:
            yield "é€" * 40_000 + f" {burst}\\n"
    yield "the end"
"""
PRINT = (
    TEXT
    + """
import sys, time
for burst in text():
    sys.stdout.write(burst)
    sys.stdout.flush()
    time.sleep(0.02)
"""
)


def printed() -> str:
    space: dict[str, Any] = {}
    exec(TEXT, space)  # noqa: S102 - the same text in the process and here
    return "".join(space["text"]())


async def create(api: Any, code: str) -> None:
    container = {"name": "process", "image": "python", "args": [code]}
    pod = {"metadata": {"name": POD.name}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    await api.create_namespaced_pod("default", pod)


async def started(api: Any) -> asyncio.Task[None]:
    """A task that ends when the pod's process does; it has a log when this returns."""
    begun = asyncio.Event()

    async def watch() -> None:
        async for state in Pods(api).states(POD):
            if state.has_output:
                begun.set()

    watching = asyncio.create_task(watch())
    await begun.wait()
    return watching


@asynccontextmanager
async def through(api: Any, proxy: CuttingProxy) -> AsyncIterator[CoreV1Api]:
    """The same API behind a proxy."""
    configuration = client.Configuration()
    known = api.api_client.configuration
    configuration.host = f"http://127.0.0.1:{proxy.port}"
    configuration.api_key, configuration.api_key_prefix = known.api_key, known.api_key_prefix
    async with client.ApiClient(configuration) as behind:
        yield client.CoreV1Api(behind)


def port(api: Any) -> int:
    return urlsplit(api.api_client.configuration.host).port or 80


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "RETRY_SECONDS", 0.01)


async def read_through(api: Any, seed: int) -> tuple[list[str], int]:
    """All lines, and how often a connection broke."""
    await create(api, PRINT)
    watching = await started(api)
    cutting = CuttingProxy(port(api), Random(seed), longest=700_000, patience=25)
    async with cutting.running() as proxy, through(api, proxy) as behind:
        lines = [line async for line in read_output(behind, POD, watching.done)]
    await watching
    return lines, cutting.cuts


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(4))
async def test_wherever_connections_break_each_line_is_given_once(api: Any, seed: int) -> None:
    lines, cuts = await read_through(api, seed)
    text = printed()
    # Nothing is between the pieces of a long line, or of the one that its stream broke off in for good.
    assert "".join(lines) == text.replace("\n", "")
    assert [line for line in lines if len(line) < 1000] == [line for line in text.split("\n") if len(line) < 1000]
    assert cuts > 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seconds", [-7200, 7200])
async def test_a_worker_whose_clock_is_wrong_loses_and_doubles_nothing(
    api: Any, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr(output, "time", SimpleNamespace(time=lambda: time.time() + seconds))
    lines, _ = await read_through(api, 7)
    assert "".join(lines) == printed().replace("\n", "")


@pytest.mark.usefixtures("impatient")
async def test_a_log_that_may_not_be_read_is_told_once(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    await create(api, "import signal; signal.pause()")
    watching = await started(api)
    configuration = client.Configuration(host=api.api_client.configuration.host)
    configuration.api_key = {"BearerToken": "Bearer wrong"}
    third_round = asyncio.Event()
    rounds = iter([None, None, third_round])

    def ended() -> bool:
        if event := next(rounds, None):
            event.set()
        return False

    async with client.ApiClient(configuration) as stranger:
        lines = read_output(client.CoreV1Api(stranger), POD, ended)
        reading = asyncio.ensure_future(anext(lines, None))
        await third_round.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await api.delete_namespaced_pod(POD.name, "default", grace_period_seconds=0)
    await asyncio.gather(watching, return_exceptions=True)
    assert caplog.messages == [
        "the output of pod default/p can't be read: 401 Unauthorized. Remedy: allow Airflow's account to get pods/log."
    ]


async def test_a_flood_leaves_the_event_loop_to_others(api: Any) -> None:
    """What is fed is drained in the same loop: it has its turn after each chunk of the log."""
    await create(api, "for n in range(300_000): print('a line of a flood', n)")
    watching = await started(api)
    loop, since, most, count = asyncio.get_running_loop(), 0, 0, 0
    handle: asyncio.Handle | None = None

    def turn() -> None:
        nonlocal since, handle
        since, handle = 0, loop.call_soon(turn)

    turn()
    async for line in read_output(api, POD, watching.done):
        count, since = count + 1, since + len(line)
        most = max(most, since)
    assert handle
    handle.cancel()
    await watching
    assert count == 300_000
    assert most <= 2 << 16
