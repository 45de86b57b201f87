"""A live product moves from KAI to here and back on one nats-server, as docs/from-kai.md tells: nothing is lost or done
twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nats.js.errors import BadRequestError

from kai_airflow.bridge import workflow
from kai_airflow.messaging.errors import KaiStreamError
from kai_airflow.messaging.streams import NAME_IN_USE
from kai_airflow.plan import names
from tests.bridge.kai import Kai
from tests.bridge.parts import at_work, bench_of, each_once, message, serving, workflow_of

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import AirflowStub

AT_KAI, HERE = workflow_of("v1.0.0"), workflow_of("v1.0.1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "PAUSES", (0.05,))
    monkeypatch.setattr("kai_airflow.bridge.runs.gate.PAUSES", (0.02,))


@pytest.fixture
async def kai(connection: Connection) -> Kai:
    """KAI with version 1.0.0 started."""
    kai = Kai(connection, AT_KAI)
    await kai.start()
    return kai


async def publish(connection: Connection, stream: names.Stream, numbers: range) -> list[int]:
    """A trigger's messages, to KAI or to us; their sequences."""
    subject = names.output_subject(stream, "first")
    return [(await connection.js.publish(subject, message(n))).seq for n in numbers]


async def next_made(connection: Connection, stream: names.Stream) -> Subscription:
    """Tells when a stream of this name is made from now on."""
    made = await connection.nc.subscribe(f"$JS.EVENT.ADVISORY.STREAM.CREATED.{stream}")
    await connection.nc.flush()
    return made


async def all_streams(connection: Connection) -> set[str]:
    return {str(info.config.name) for info in await connection.js.streams_info()}


async def test_while_both_run_each_works_on_its_own_messages(
    connection: Connection, airflow: Airflow, stub: AirflowStub, kai: Kai
) -> None:
    """The old version is drained while the new one takes what comes."""
    work = await kai.process("first", "work")
    out = await kai.process("work", "out")
    await publish(connection, kai.stream, range(20))
    before = (await connection.js.stream_info(kai.stream)).config
    made = await next_made(connection, HERE.live_stream)
    async with at_work(serving(connection, airflow, HERE)):
        await made.next_msg(20)
        sequences = await publish(connection, HERE.live_stream, range(20, 40))
        assert await work.handle(20) == await out.handle(20) == [message(n) for n in range(20)]
        await stub.until(lambda: len(stub.runs) == 20)
    each_once(stub, sequences)
    assert {(run.conf or {})["stream"] for run in stub.runs.values()} == {HERE.live_stream}
    info = await connection.js.stream_info(kai.stream)
    assert (info.config, info.state.messages) == (before, 0)


async def test_drained_is_when_no_consumer_of_a_group_has_anything_left(connection: Connection, kai: Kai) -> None:
    """The stream itself needn't be empty: triggers that are gone leave consumers of replies behind."""
    work = await kai.process("first", "work")
    out = await kai.process("work", "out")
    await kai.waiting_for_replies("out", "first")
    await publish(connection, kai.stream, range(3))

    async def left() -> int:
        infos = [info for info in await kai.consumers() if info.config.deliver_group]
        return sum((info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos)

    assert await left() == 3
    await work.handle(3)
    assert await left() == 3
    await out.handle(3)
    assert await left() == 0
    assert (await connection.js.stream_info(kai.stream)).state.messages == 3


async def test_a_version_that_kai_serves_is_refused_until_kai_has_stopped_it(
    connection: Connection, airflow: Airflow, stub: AirflowStub, kai: Kai
) -> None:
    work = await kai.process("first", "work")
    await publish(connection, kai.stream, range(3))
    with pytest.raises(KaiStreamError):
        await workflow.prepare(bench_of(connection, airflow), AT_KAI)
    async with at_work(serving(connection, airflow, AT_KAI)):
        assert await work.handle(3) == [message(n) for n in range(3)]
        assert stub.runs == {}
        made = await next_made(connection, kai.stream)
        await kai.stop()
        await made.next_msg(20)
        sequences = await publish(connection, kai.stream, range(3, 5))
        await stub.until(lambda: len(stub.runs) == 2)
    each_once(stub, sequences)


async def test_kai_stopping_and_starting_its_version_leaves_ours_alone(
    connection: Connection, airflow: Airflow, kai: Kai
) -> None:
    """So one can go back at any time."""
    await workflow.prepare(bench_of(connection, airflow), HERE)
    await publish(connection, HERE.live_stream, range(3))
    ours = await all_streams(connection) - {kai.stream}
    assert {HERE.live_stream, HERE.run_stream} < ours
    await kai.stop()
    assert await all_streams(connection) == ours
    await kai.start()
    assert await all_streams(connection) == ours | {kai.stream}
    assert (await connection.js.stream_info(HERE.live_stream)).state.messages == 3


async def test_kai_can_neither_start_a_version_that_is_here_nor_stop_it_without_taking_it_away(
    connection: Connection, airflow: Airflow
) -> None:
    """Why the versions must differ."""
    await workflow.prepare(bench_of(connection, airflow), HERE)
    same = Kai(connection, HERE)
    with pytest.raises(BadRequestError) as refused:
        await same.start()
    assert refused.value.err_code == NAME_IN_USE
    await same.stop()
    assert HERE.live_stream not in await all_streams(connection)
