"""Whether a DAG takes runs now."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.runs import gate
from kai_airflow.bridge.runs.gate import Gate
from tests.bridge.airflow_stub import DAG, AirflowStub, StubDag, answering, hanging

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow


@pytest.mark.parametrize(
    ("dag", "reason"),
    [
        (StubDag(is_paused=True), "it is paused"),
        (StubDag(has_import_errors=True), "its file has errors"),
        (StubDag(is_stale=True), "no such DAG"),
        (None, "no such DAG"),
    ],
)
async def test_it_is_closed_for_a_dag_that_takes_none_and_says_why_once(
    airflow: Airflow, stub: AirflowStub, caplog: pytest.LogCaptureFixture, dag: StubDag | None, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    one = Gate(airflow, DAG, 10)
    assert await one.is_open()
    if dag:
        stub.dags[DAG] = dag
    else:
        del stub.dags[DAG]
    assert await one.closed()
    assert await one.closed()
    assert reason in one.reason
    stub.dags[DAG] = StubDag()
    assert not await one.closed()
    said = [line for line in caplog.messages if line.startswith("messages for")]
    assert len(said) == 2
    assert reason in said[0]
    assert said[1] == f"messages for {DAG} go on"


async def test_an_answer_counts_for_a_second_and_no_longer(
    airflow: Airflow, stub: AirflowStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Gate(airflow, DAG, 1000)
    for _ in range(500):
        assert await one.admits()
    assert len(stub.asked) == 3  # for a token, the DAG, its queued runs
    stub.dag.is_paused = True
    assert await one.admits()
    monkeypatch.setattr(gate, "FRESH", 0.0)
    assert not await one.admits()


async def test_it_admits_as_many_as_may_wait_though_all_ask_at_once(airflow: Airflow, stub: AirflowStub) -> None:
    for n in range(3):
        stub.add(f"any__{n}", None, state="queued")
    one = Gate(airflow, DAG, 10)
    admitted = 0

    async def start() -> None:
        nonlocal admitted
        if await one.admits():
            admitted += 1
            stub.add(f"kai__{admitted}", None, state="queued")

    await asyncio.gather(*(start() for _ in range(200)))
    assert admitted == 7
    assert one.reason == "10 of its runs are queued"
    stub.started()[0].state = "running"
    assert await one.admits()


async def test_who_waits_goes_on_within_two_seconds_of_its_opening(airflow: Airflow, stub: AirflowStub) -> None:
    stub.dag.is_paused = True
    one = Gate(airflow, DAG, 10)
    waiting = asyncio.create_task(one.opens())
    await stub.until(lambda: len(stub.asked) >= 6)  # by then it looks every two seconds
    assert not waiting.done()
    stub.dag.is_paused = False
    begin = time.monotonic()
    await waiting
    assert time.monotonic() - begin < 2.5


async def test_an_airflow_that_fails_closes_it_until_it_answers(
    airflow: Airflow, stub: AirflowStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PAUSES", (0.01,))
    stub.fault = answering(500, "down", times=5)
    one = Gate(airflow, DAG, 10)
    assert not await one.is_open()
    assert "down" in one.reason
    await one.opens()
    assert one.reason == ""


async def test_one_that_was_closed_looks_before_the_next(airflow: Airflow, stub: AirflowStub) -> None:
    one = Gate(airflow, DAG, 10)
    assert await one.admits()
    one.close("Airflow refused")
    asked = len(stub.asked)
    assert await one.admits()
    assert len(stub.asked) > asked


async def test_a_wait_may_be_cancelled_and_locks_nobody_out(airflow: Airflow, stub: AirflowStub) -> None:
    stub.fault = hanging()
    one = Gate(airflow, DAG, 10)
    waiting = asyncio.create_task(one.opens())
    await stub.until(lambda: bool(stub.logins))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    async with asyncio.timeout(5):
        assert await one.is_open()
