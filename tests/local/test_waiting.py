"""Waiting for several things at once."""

from __future__ import annotations

import asyncio

import pytest

from kai_airflow.local.errors import StackError
from kai_airflow.local.waiting import first, together, until

DEADLINE = 20.0  # seconds


class Work:
    """Something that takes until it is released, and notes how it ended."""

    def __init__(self) -> None:
        self.release, self.ended = asyncio.Event(), ""

    async def do(self) -> None:
        try:
            await self.release.wait()
            self.ended = "done"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def fail() -> None:
    raise StackError("went wrong")


async def test_together_waits_for_all() -> None:
    works = [Work(), Work()]
    async with asyncio.timeout(DEADLINE):
        waiting = asyncio.create_task(together(*(work.do() for work in works)))
        works[0].release.set()
        await asyncio.sleep(0)
        assert not waiting.done()
        works[1].release.set()
        await waiting
    assert [work.ended for work in works] == ["done", "done"]


async def test_the_first_error_of_several_ends_the_others() -> None:
    work = Work()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(StackError, match="went wrong"):
            await together(work.do(), fail())
    assert work.ended == "cancelled"


async def test_being_cancelled_ends_all() -> None:
    works = [Work(), Work()]
    waiting = asyncio.create_task(together(*(work.do() for work in works)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [work.ended for work in works] == ["cancelled", "cancelled"]


async def test_the_first_that_ends_ends_the_others() -> None:
    quick, slow = Work(), Work()
    quick.release.set()
    async with asyncio.timeout(DEADLINE):
        await first(slow.do(), quick.do())
    assert (quick.ended, slow.ended) == ("done", "cancelled")


async def test_the_first_that_fails_is_the_error() -> None:
    slow = Work()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(StackError, match="went wrong"):
            await first(slow.do(), fail())
    assert slow.ended == "cancelled"


async def test_until_asks_again_until_it_is_so() -> None:
    answers = iter([False, False, True])

    async def probe() -> bool:
        return next(answers)

    await until("it", probe, DEADLINE)
    assert list(answers) == []


async def test_until_gives_up_by_name() -> None:
    async def probe() -> bool:
        return False

    with pytest.raises(StackError, match=r"^it isn't ready after 0 s\. Remedy: "):
        await until("it", probe, 0)
