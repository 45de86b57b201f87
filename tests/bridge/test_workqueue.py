"""Things to look at: one hand at a time, no rush, patience with failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.cluster import workqueue
from kai_airflow.bridge.cluster.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkQueue[str]]:
    monkeypatch.setattr(workqueue, "REST", 0.05)
    made: WorkQueue[str] = WorkQueue()
    yield made
    made.close()


async def next_of(queue: WorkQueue[str], seconds: float = 5) -> str:
    async with asyncio.timeout(seconds):
        return await queue.get()


async def is_empty(queue: WorkQueue[str], seconds: float) -> bool:
    try:
        await next_of(queue, seconds)
    except TimeoutError:
        return True
    return False


async def test_what_is_added_several_times_comes_once(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await next_of(queue), await next_of(queue)] == ["a", "b"]
    assert await is_empty(queue, 0.1)


async def test_what_is_added_while_in_hand_comes_again_once_when_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await next_of(queue)
    for _ in range(3):
        queue.add("a")
    assert await is_empty(queue, 0.15)
    queue.done("a")
    began = asyncio.get_running_loop().time()
    assert await next_of(queue) == "a"
    assert asyncio.get_running_loop().time() - began >= 0.04  # it had its rest
    queue.done("a")
    assert await is_empty(queue, 0.15)


async def test_the_earlier_time_counts(queue: WorkQueue[str]) -> None:
    queue.add("a", 60)
    queue.add("a", 0.02)
    queue.add("a", 60)
    assert await next_of(queue) == "a"
    queue.done("a")
    assert await is_empty(queue, 0.15)


async def test_what_fails_again_and_again_waits_longer(queue: WorkQueue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "PAUSES", (0.06, 0.2))
    loop, waits = asyncio.get_running_loop(), []
    queue.add("a")
    for _ in range(3):
        await next_of(queue)
        queue.retry("a")
        queue.done("a")
        began = loop.time()
        await next_of(queue)
        waits.append(loop.time() - began)
        queue.retry("a")
        queue.done("a")
    assert waits[0] < 0.19 < waits[1]
    await next_of(queue)
    queue.went_well("a")
    queue.retry("a")
    queue.done("a")
    began = loop.time()
    await next_of(queue)
    assert loop.time() - began < 0.19


async def test_a_closed_one_gives_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a", 0.01)
    queue.close()
    assert await is_empty(queue, 0.1)
