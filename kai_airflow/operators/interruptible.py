"""Running asyncio inside a task, so that Airflow's ``execution_timeout`` ends it."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowTaskTimeout

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, ended by the alarm that Airflow sets for ``execution_timeout``.

    Airflow's handler raises wherever the alarm finds the interpreter: inside one of several coroutines the exception
    would be stored there, and the task would wait on. Here the alarm cancels the whole.

    :raises AirflowTaskTimeout: the alarm went off
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    before = signal.getsignal(signal.SIGALRM)
    try:
        return asyncio.run(_until_alarm(work))
    finally:
        signal.signal(signal.SIGALRM, before)


async def _until_alarm(work: Coroutine[Any, Any, T]) -> T:
    alarm = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, alarm.set)
    working, alarmed = asyncio.ensure_future(work), asyncio.ensure_future(alarm.wait())
    await asyncio.wait((working, alarmed), return_when=asyncio.FIRST_COMPLETED)
    alarmed.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    raise AirflowTaskTimeout("execution_timeout is over")
