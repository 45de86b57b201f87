"""A task that was cancelled ends, whatever swallowed the cancel."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from kai_airflow.messaging.cancelling import heed_cancel


async def test_a_cancel_that_was_swallowed_is_heeded() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):  # as Python 3.11's wait_for does
            await asyncio.Event().wait()
        while True:
            heed_cancel()
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
    assert task.cancelled()


async def test_who_was_not_cancelled_goes_on() -> None:
    heed_cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    heed_cancel()
