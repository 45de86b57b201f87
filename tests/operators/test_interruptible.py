"""Airflow's execution_timeout and asyncio."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from kai_airflow.operators import interruptible

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def alarm() -> Iterator[None]:
    """An alarm as Airflow sets it, with a handler that raises."""

    def handler(*_: object) -> None:
        raise AirflowTaskTimeout("raised wherever the alarm found the interpreter")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert signal.getsignal(signal.SIGALRM) is handler
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_the_alarm_ends_work_whose_side_task_is_busy_and_lets_it_clean_up() -> None:
    cleaned: list[str] = []

    async def busy() -> None:
        for _ in range(10**9):
            await asyncio.sleep(0)

    async def work() -> None:
        side = asyncio.create_task(busy())
        try:
            await asyncio.Event().wait()
        finally:
            side.cancel()
            cleaned.append("up")

    with pytest.raises(AirflowTaskTimeout):
        interruptible.run(work())
    assert cleaned == ["up"]


def test_a_result_and_an_error_come_through() -> None:
    async def good() -> int:
        return 1

    async def bad() -> int:
        raise ValueError("mine")

    assert interruptible.run(good()) == 1
    with pytest.raises(ValueError, match="mine"):
        interruptible.run(bad())
