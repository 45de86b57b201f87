"""Waiting for several things at once, and for one to become true."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

POLL = 0.1  # seconds between two looks


async def together(*doing: Coroutine[Any, Any, None]) -> None:
    """Do all; the first error ends the others and is raised."""
    tasks = [asyncio.create_task(one) for one in doing]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)


async def first(*doing: Coroutine[Any, Any, object]) -> None:
    """Do all until one has ended, or raised; that ends the others."""
    tasks = [asyncio.create_task(one) for one in doing]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel(tasks)


async def until(name: str, probe: Callable[[], Awaitable[bool]], timeout: float) -> None:
    """Ask ``probe`` until it says yes. Raises StackError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not await probe():
        if time.monotonic() > deadline:
            raise StackError(f"{name} isn't ready after {timeout:g} s. Remedy: see its log; is the machine overloaded?")
        await asyncio.sleep(POLL)


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """End these tasks, however they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
