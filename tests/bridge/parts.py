"""A workflow of two triggers, messages for it, and intakes that make runs of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kai_airflow import krt
from kai_airflow.bridge.runs import deadletters
from kai_airflow.bridge.runs.gate import Gate
from kai_airflow.bridge.runs.intake import Intake, Source
from kai_airflow.bridge.site import Settings
from kai_airflow.bridge.workflow import Workbench, prepare, serve
from kai_airflow.bridge.workflow import _source as made_source
from kai_airflow.messaging import codec
from kai_airflow.plan import Workflow, compile_product, names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.runs.deadletters import DeadLetter
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import AirflowStub

LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"


def krt_text(version: str = "v1.0.0", *, more: str = "", workflow: str = "train") -> str:
    """Triggers first and second, a task, exits out and also; first waits for out."""
    return f"""version: {version}
description: text
workflows:
  - name: {workflow}
    type: training
    {more}
    processes:
      - {{name: first, type: trigger, image: i, {LIMITS}, subscriptions: [out]}}
      - {{name: second, type: trigger, image: i, {LIMITS}}}
      - {{name: work, type: task, image: i, {LIMITS}, subscriptions: [first, second]}}
      - {{name: out, type: exit, image: i, {LIMITS}, subscriptions: [work]}}
      - {{name: also, type: exit, image: i, {LIMITS}, subscriptions: [work.also]}}
"""


def workflow_of(version: str = "v1.0.0", *, per_run: int = 1, more: str = "") -> Workflow:
    says = f"x-airflow: {{messages_per_run: {per_run}{more}}}"
    product = krt.check(krt_text(version, more=says).encode(), PurePath("shop/krt.yaml")).require()
    return compile_product(product).workflows[0]


WORKFLOW = workflow_of()
STREAM = WORKFLOW.live_stream


def message(number: int, **more: Any) -> bytes:
    return codec.encode(codec.Message(f"request-{number}", codec.pack(number), from_node="first", **more), 1 << 20)


async def publish(connection: Connection, count: int, trigger: str = "first", begin: int = 0) -> list[int]:
    """Publish messages of a trigger; their sequences."""
    subject = names.output_subject(STREAM, trigger)
    futures = [await connection.js.publish_async(subject, message(begin + n)) for n in range(count)]
    return [(await future).seq for future in futures]


def bench_of(connection: Connection, airflow: Airflow, **settings: Any) -> Workbench:
    return Workbench(connection, airflow, Settings(**settings))


async def prepared(connection: Connection, airflow: Airflow, trigger: str = "first") -> Source:
    """The streams and consumers of the workflow."""
    moment = await prepare(bench_of(connection, airflow), WORKFLOW)
    (process,) = [one for one in WORKFLOW.triggers if one.name == trigger]
    return await made_source(connection, STREAM, moment, process)


def intake_of(
    connection: Connection, airflow: Airflow, source: Source, per_run: int = 1, most_queued: int = 1000
) -> Intake:
    return Intake(connection, airflow, Gate(airflow, WORKFLOW.dag_id, most_queued), WORKFLOW.dag_id, source, per_run)


@asynccontextmanager
async def at_work(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Have them work while the block lasts; one that fails meanwhile fails the test."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        yield tasks
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task


def serving(connection: Connection, airflow: Airflow, workflow: Workflow = WORKFLOW) -> Coroutine[Any, Any, None]:
    return serve(bench_of(connection, airflow), workflow)


async def ended_well(connection: Connection, source: Source) -> None:
    """Every message and every group is acked."""
    async with asyncio.timeout(30):
        for consumer in (source.messages, source.groups):
            while True:
                info = await connection.js.consumer_info(source.stream, consumer)
                if not info.num_pending and not info.num_ack_pending:
                    break
                await asyncio.sleep(0.02)


async def dead(connection: Connection) -> list[DeadLetter]:
    return [letter async for letter in deadletters.listed(connection)]


def each_once(stub: AirflowStub, sequences: list[int], *, in_order: bool = True) -> None:
    """Every message is in exactly one run, and the runs were made in the messages' order."""
    carried = stub.carried()
    assert sorted(carried) == sorted(sequences)
    if in_order:
        wrong = [(n, got) for n, (got, due) in enumerate(zip(carried, sequences, strict=True)) if got != due]
        assert not wrong
