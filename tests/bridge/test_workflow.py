"""One workflow on NATS: what it needs is made, and kept whatever happens to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge import workflow
from kai_airflow.bridge.workflow import prepare
from kai_airflow.messaging.errors import StreamGoneError
from kai_airflow.messaging.streams import Retention, created
from kai_airflow.plan import names
from tests.bridge.parts import (
    STREAM,
    WORKFLOW,
    at_work,
    bench_of,
    each_once,
    intake_of,
    message,
    prepared,
    publish,
    serving,
    workflow_of,
)

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import AirflowStub


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "PAUSES", (0.05,))
    monkeypatch.setattr("kai_airflow.bridge.runs.gate.PAUSES", (0.02,))


async def served(connection: Connection, consumers: int = 4, stream: str = STREAM) -> None:
    async with asyncio.timeout(20):
        while stream not in await streams(connection) or await consumer_count(connection, stream) < consumers:
            pass


async def streams(connection: Connection) -> list[str]:
    return [str(info.config.name) for info in await connection.js.streams_info()]


async def consumer_count(connection: Connection, stream: str = STREAM) -> int:
    return (await connection.js.stream_info(stream)).state.consumer_count


async def test_all_that_a_workflow_needs_is_made_and_making_it_again_changes_nothing(
    connection: Connection, airflow: Airflow
) -> None:
    bench = bench_of(connection, airflow, retention=Retention(max_age=3600))
    moments = {await prepare(bench, WORKFLOW) for _ in range(3)}
    assert moments == {await created(connection.js, STREAM)}
    found = await streams(connection)
    buckets = {f"KV_{name}" for name in workflow._buckets(WORKFLOW.processes)}
    assert set(found) == {STREAM, WORKFLOW.run_stream, names.DEAD_LETTERS, *buckets}
    for stream in (STREAM, WORKFLOW.run_stream, names.DEAD_LETTERS):
        assert (await connection.js.stream_info(stream)).config.max_age == 3600


async def test_triggers_of_a_workflow_that_streams_start_no_runs(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    streaming = replace(WORKFLOW, mode="stream")
    async with at_work(serving(connection, airflow, streaming)):
        await served(connection, 0)
        await publish(connection, 3)
        await asyncio.sleep(0.2)
        assert await consumer_count(connection) == 0
    assert stub.asked == []


async def test_consumers_that_are_removed_are_made_anew_and_start_no_run_twice(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """The new ones begin with the first message."""
    source = await prepared(connection, airflow)
    async with at_work(serving(connection, airflow)):
        sequences = await publish(connection, 30)
        await stub.until(lambda: len(stub.runs) == 30)
        for consumer in (source.messages, source.groups):
            await connection.js.delete_consumer(STREAM, consumer)
        sequences += await publish(connection, 30, begin=30)
        await stub.until(lambda: len(stub.runs) == 60)
        await served(connection)
        again = stub.posts()
    each_once(stub, sequences)
    assert again >= 60


async def test_a_stream_that_is_made_anew_between_its_name_and_its_consumers_is_noticed(
    connection: Connection, airflow: Airflow
) -> None:
    moment = await prepare(bench_of(connection, airflow), WORKFLOW)
    await connection.js.delete_stream(STREAM)
    await asyncio.sleep(0.01)
    await prepare(bench_of(connection, airflow), WORKFLOW)
    with pytest.raises(StreamGoneError):
        await workflow._source(connection, STREAM, moment, WORKFLOW.triggers[0])
    assert await consumer_count(connection) == 0


async def test_an_intake_that_knows_an_older_stream_starts_nothing_of_the_new_one(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """The same sequences are other messages there."""
    source = await prepared(connection, airflow)
    old = await publish(connection, 3)
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 3)
    await connection.js.delete_stream(STREAM)
    await asyncio.sleep(0.01)
    newer = await prepared(connection, airflow)
    assert newer.created != source.created
    await publish(connection, 3)
    stale = asyncio.create_task(intake_of(connection, airflow, source).work())
    await asyncio.wait([stale], timeout=10)
    assert stale.done()
    assert stale.exception() is not None
    each_once(stub, old)
    # Even where the consumer of the new stream is given to it.
    mixed = replace(source, messages=newer.messages, groups=newer.groups)
    stale = asyncio.create_task(intake_of(connection, airflow, mixed).work())
    await asyncio.wait([stale], timeout=10)
    assert isinstance(stale.exception(), StreamGoneError)
    assert len(stub.runs) == 3


async def test_messages_of_another_version_that_a_bridge_took_in_before_are_this_dags_runs(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    old = await prepared(connection, airflow)
    newer = workflow_of("v2.0.0")
    other = names.live_stream("shop", "v1.0.0", "other")
    await connection.js.add_stream(name="shop_v3_0_0_train", subjects=["shop_v3_0_0_train.>"])
    await connection.js.add_stream(name=other, subjects=[f"{other}.>"])
    await publish(connection, 3)
    async with at_work(serving(connection, airflow, newer)):
        await stub.until(lambda: len(stub.runs) == 3)
        await connection.js.publish("shop_v3_0_0_train.first", message(1))
        await connection.js.publish(names.output_subject(newer.live_stream, "first"), message(2))
        await stub.until(lambda: len(stub.runs) == 4)
        await asyncio.sleep(0.1)
    assert [run.conf["stream"] for run in stub.started() if run.conf] == [STREAM] * 3 + [newer.live_stream]
    assert old.stream == STREAM


async def test_where_each_version_has_a_dag_of_its_own_each_has_its_own_messages(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    await prepared(connection, airflow)
    newer = workflow_of("v2.0.0")
    newer = replace(newer, dag_id=names.dag_id("shop", "train", "v2.0.0"))
    await publish(connection, 3)
    async with at_work(serving(connection, airflow, newer)):
        await served(connection, stream=newer.live_stream)
        await asyncio.sleep(0.2)
    assert len(stub.runs) == 0


async def test_whatever_fails_is_tried_again(
    connection: Connection, airflow: Airflow, stub: AirflowStub, caplog: pytest.LogCaptureFixture
) -> None:
    """Another stream has the subjects, until somebody removes it."""
    await connection.js.add_stream(name="other", subjects=[f"{STREAM}.first"])
    async with at_work(serving(connection, airflow)):
        async with asyncio.timeout(10):
            while "overlap" not in caplog.text:
                await connection.nc.flush()
        await connection.js.delete_stream("other")
        await served(connection)
        await publish(connection, 2)
        await stub.until(lambda: len(stub.runs) == 2)
