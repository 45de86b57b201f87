"""Readiness: asks a container, over and over, as its readinessProbe says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp

from kai_airflow.local.kubernetes.readiness import Probe
from kai_airflow.local.kubernetes.status import ADDRESS

EAGER = 0.1
"""Seconds between two questions until a container is ready for the first time: people wait for it."""

Resolve = Callable[[int | str], int | None]
"""The port on which a container really listens, by number or name of the one that it declares."""


@dataclass(frozen=True)
class Answer:
    """Whether a container is ready, and if not, why."""

    ready: bool
    why: str = ""


async def answers(probe: Probe, resolve: Resolve) -> AsyncIterator[Answer]:
    """Each change, the first "ready" included; and "not ready" once where that takes longer than the thresholds."""
    await asyncio.sleep(probe.initial_delay_seconds)
    told: Answer | None = None
    begun, count, last = _now(), 0, False
    while True:
        answer = await _ask(probe, resolve)
        count, last = (count + 1, last) if answer.ready is last else (1, answer.ready)
        overdue = _now() - begun > probe.period_seconds * probe.failure_threshold
        if (told is None or told.ready is not answer.ready) and _decided(probe, answer, count, told, overdue):
            told = answer
            yield answer
        await asyncio.sleep(probe.period_seconds if told else min(EAGER, probe.period_seconds))


def _decided(probe: Probe, answer: Answer, count: int, told: Answer | None, overdue: bool) -> bool:
    if answer.ready:
        return count >= probe.success_threshold
    return overdue if told is None else count >= probe.failure_threshold


async def _ask(probe: Probe, resolve: Resolve) -> Answer:
    asked = probe.tcp_socket or probe.http_get
    port = resolve(asked.port) if asked else None
    if port is None:
        return Answer(False, f"no port is named {asked.port}" if asked else "nothing to ask")
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            return await (_page(port, probe.http_get.path) if probe.http_get else _connection(port))
    except TimeoutError:
        return Answer(False, f"port {port}: no answer within {probe.timeout_seconds} s")
    except (OSError, ValueError, aiohttp.ClientError) as error:
        return Answer(False, f"port {port}: {error}")


async def _connection(port: int) -> Answer:
    _, writer = await asyncio.open_connection(ADDRESS, port)
    writer.close()
    return Answer(True)


async def _page(port: int, path: str) -> Answer:
    async with aiohttp.ClientSession() as session, session.get(f"http://{ADDRESS}:{port}{path}") as response:
        return Answer(response.status < 400, f"port {port}: HTTP {response.status}")


def _now() -> float:
    return asyncio.get_running_loop().time()
