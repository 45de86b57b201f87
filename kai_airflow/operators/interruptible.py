"""Running asyncio inside a task, so that Airflow's ``execution_timeout`` and SIGTERM end it."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowTaskTimeout

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class TerminatedError(KaiAirflowError):
    """The task was told to end: by a person, or because its worker ends."""


_INTERRUPTIONS: dict[signal.Signals, tuple[type[BaseException], str]] = {
    signal.SIGALRM: (AirflowTaskTimeout, "execution_timeout is over"),
    signal.SIGTERM: (TerminatedError, "the task was told to end (SIGTERM)"),
}


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, ended by the alarm that Airflow sets for ``execution_timeout``, and by SIGTERM.

    Airflow's handlers act wherever the signal finds the interpreter: an exception inside one of several coroutines
    would be stored there, and the task would wait on. Here a signal cancels the whole.

    :raises AirflowTaskTimeout: the alarm went off
    :raises TerminatedError: SIGTERM came
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    before = {number: signal.getsignal(number) for number in _INTERRUPTIONS}
    try:
        return asyncio.run(_until_interrupted(work))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    interrupted: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    for number, (kind, text) in _INTERRUPTIONS.items():
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, interrupted, kind(text))
    working = asyncio.ensure_future(work)
    await asyncio.wait((working, interrupted), return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    raise interrupted.result()


def _interrupt(interrupted: asyncio.Future[BaseException], error: BaseException) -> None:
    if not interrupted.done():
        interrupted.set_result(error)
