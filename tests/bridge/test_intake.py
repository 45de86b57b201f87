"""Messages to runs, on a real nats-server and an Airflow that fails as it is told: each in exactly one run."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from kai_airflow.bridge import client, workflow
from kai_airflow.bridge.client import Airflow, reaching
from kai_airflow.bridge.runs import intake
from kai_airflow.bridge.runs.requests import run_request
from kai_airflow.messaging import codec, pull
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import microseconds
from kai_airflow.messaging.streams import created
from kai_airflow.plan import names
from tests.bridge.airflow_stub import DAG, AirflowStub, answering, dropped, dropping_after
from tests.bridge.parts import (
    STREAM,
    at_work,
    dead,
    each_once,
    ended_well,
    intake_of,
    message,
    prepared,
    publish,
    serving,
    workflow_of,
)
from tests.bridge.proxy import SwallowingProxy

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import Act
    from tests.conftest import NatsServer

SUBJECT = names.output_subject(STREAM, "first")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in the field takes moments."""
    monkeypatch.setattr(intake, "ACK_WAIT", 1.0)
    monkeypatch.setattr(workflow, "ACK_WAIT", 1.0)
    monkeypatch.setattr(intake, "PATIENCE", 0.5)
    monkeypatch.setattr(intake, "LINGER", 0.05)
    monkeypatch.setattr(client, "ANSWER", 0.3)
    monkeypatch.setattr("kai_airflow.bridge.runs.gate.PAUSES", (0.02,))
    monkeypatch.setattr(workflow, "PAUSES", (0.05,))
    monkeypatch.setattr("kai_airflow.messaging.connection.PING_INTERVAL", 0.2)
    monkeypatch.setattr("kai_airflow.messaging.connection.API_ANSWER", 1.0)
    monkeypatch.setattr(pull, "EXPIRES", 1.0)
    monkeypatch.setattr(pull, "HEARTBEAT", 0.2)
    monkeypatch.setattr(pull, "SILENCE", 0.6)
    monkeypatch.setattr(pull, "ANSWER", 0.5)


async def test_each_message_is_in_a_run_of_its_own_in_order_and_acked(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 300)
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 300)
        await ended_well(connection, source)
    each_once(stub, sequences)
    first = stub.started()[0]
    assert first.run_id == f"kai__{source.created}__1"
    assert first.conf is not None
    assert first.conf["request_ids"] == ["request-0"]
    assert first.note == f"request request-0 of first: message 1 of {STREAM}"
    assert await dead(connection) == []


async def test_messages_of_another_trigger_are_no_business_of_this_one(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    source, other = await prepared(connection, airflow), await prepared(connection, airflow, "second")
    await publish(connection, 5, "second")
    sequences = await publish(connection, 5)
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 5)
        each_once(stub, sequences)
        async with at_work(intake_of(connection, airflow, other).work()):
            await stub.until(lambda: len(stub.runs) == 10)
    assert [run.conf["trigger"] for run in stub.started() if run.conf] == ["first"] * 5 + ["second"] * 5


async def test_messages_that_share_a_run_stay_in_order_and_are_acked(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 305)
    async with at_work(intake_of(connection, airflow, source, per_run=10).work()):
        await stub.until(lambda: len(stub.carried()) == 305)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert [len(run.sequences) for run in stub.started()] == [10] * 30 + [5]


async def test_a_run_may_carry_as_many_messages_as_a_krt_allows_though_they_do_not_follow_each_other(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """Airflow's note takes 1000 characters; between the messages of a trigger stand those of others."""
    source = await prepared(connection, airflow)
    other, own = names.output_subject(STREAM, "second"), []
    for _ in range(600):
        await connection.js.publish_async(other, b"x")
        own.append(await connection.js.publish_async(SUBJECT, message(1)))
    sequences = [(await future).seq for future in own]
    async with at_work(intake_of(connection, airflow, source, per_run=600).work()):
        await stub.until(lambda: len(stub.carried()) == 600 or stub.posts() > 3)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert await dead(connection) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per_run", [1, 7])
@pytest.mark.parametrize("trouble", ["500", "dropped after", "hanging", "hanging after", "expired", "any"])
async def test_whatever_airflow_does_each_message_is_in_one_run_in_order(
    connection: Connection, stub: AirflowStub, per_run: int, trouble: str
) -> None:
    chance = random.Random(trouble)

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        kind = trouble if trouble != "any" else chance.choice(["500", "dropped after", "slow", "expired", "well"])
        if chance.random() < (0.97 if "hanging" in kind else 0.7):
            return await act()
        match kind:
            case "500":
                return web.Response(status=500)
            case "dropped after":
                await act()
                return await dropped(request)
            case "hanging":
                await asyncio.sleep(3600)
            case "hanging after":
                await act()
                await asyncio.sleep(3600)
            case "slow":
                await asyncio.sleep(0.05)
            case "expired":
                stub.expire_tokens()
        return await act()

    stub.fault = fault
    async with reaching(stub.site) as airflow:
        source = await prepared(connection, airflow)
        sequences = await publish(connection, 200)
        async with at_work(intake_of(connection, airflow, source, per_run).work()):
            await stub.until(lambda: len(stub.carried()) >= 200)
            await ended_well(connection, source)
    each_once(stub, sequences)
    assert await dead(connection) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per_run", [1, 5])
async def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, per_run: int
) -> None:
    sequences = []
    async with at_work(serving(connection, airflow, workflow_of(per_run=per_run))):
        await stub.until(lambda: bool(stub.asked) or True)
        await streams_made(connection)
        for round_ in range(4):
            sequences += await publish(connection, 60, begin=60 * round_)
            target = len(stub.carried()) + random.Random(round_).randrange(1, 60)
            await stub.until(lambda target=target: len(stub.carried()) >= target)  # type: ignore[misc]
            nats_server.kill()
            nats_server.start()
            await until_connected(connection)
        await stub.until(lambda: len(stub.carried()) >= len(sequences), 60)
    each_once(stub, sequences, in_order=False)
    assert await dead(connection) == []


async def streams_made(connection: Connection) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await connection.js.stream_info(STREAM)).state.consumer_count >= 4:
                    return
            except Exception:  # noqa: BLE001 - not there yet, or the server is away
                await asyncio.sleep(0.02)


async def until_connected(connection: Connection) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await connection.js.account_info()
                await connection.js.stream_info(STREAM)
                return
            except Exception:  # noqa: BLE001 - not there yet
                await asyncio.sleep(0.05)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["paused", "swallowed", "cut"])
async def test_a_silent_or_broken_connection_is_made_anew_and_messages_go_on(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, how: str
) -> None:
    """Half-open: both ends think that all is well, and nothing comes through."""
    async with (
        SwallowingProxy(nats_server.port).running() as proxy,
        connect(proxy.url, name="bridge") as through,
        at_work(serving(through, airflow)),
    ):
        await streams_made(connection)
        sequences = await publish(connection, 100)
        await stub.until(lambda: len(stub.carried()) >= 30)
        match how:
            case "paused":
                nats_server.pause()
                await asyncio.sleep(1.0)
                assert nats_server._process is not None
                nats_server._process.send_signal(signal.SIGCONT)
            case "swallowed":
                proxy.swallow()
            case "cut":
                proxy.cut()
        sequences += await publish(connection, 100, begin=100)
        await stub.until(lambda: len(stub.carried()) >= 200, 60)
    each_once(stub, sequences, in_order=False)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per_run", [1, 6])
async def test_several_intakes_of_one_trigger_make_one_run_of_each_message(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, per_run: int
) -> None:
    source = await prepared(connection, airflow)
    stub.fault = dropping_after(every=9)
    async with AsyncExitStack() as stack:
        for number in range(3):
            own = await stack.enter_async_context(connect(nats_server.url, name=f"bridge {number}"))
            await stack.enter_async_context(at_work(intake_of(own, airflow, source, per_run).work()))
        sequences = []
        for begin in range(0, 400, 50):
            sequences += await publish(connection, 50, begin=begin)
        await stub.until(lambda: len(stub.carried()) >= 400)
        await ended_well(connection, source)
    each_once(stub, sequences, in_order=False)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per_run", [1, 4])
async def test_an_intake_may_be_cancelled_at_any_moment(
    connection: Connection, airflow: Airflow, stub: AirflowStub, per_run: int
) -> None:
    """After each step of its event loop, from the first on."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 60)
    for steps in range(1, 80):
        working = asyncio.create_task(intake_of(connection, airflow, source, per_run).work())
        for _ in range(steps):
            await asyncio.sleep(0)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    async with at_work(intake_of(connection, airflow, source, per_run).work()):
        await ended_well(connection, source)
    each_once(stub, sequences, in_order=False)


async def test_what_a_cancelled_intake_has_in_hand_comes_back_at_once(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """Not a minute later, behind all others: a KRT that has changed is served anew."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 9)
    async with at_work(intake_of(connection, airflow, source, per_run=10).work()), asyncio.timeout(20):
        while (await connection.js.consumer_info(STREAM, source.messages)).num_ack_pending < 9:
            pass
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.carried()) >= 9, 5)
    # The server puts what it meant for a question that nobody listens to any more behind the rest.
    each_once(stub, sequences, in_order=False)


# A run that is there already.


def conf_of(source: intake.Source, sequence: int, published: int, **more: object) -> dict[str, object]:
    return {**Origin(source.stream, source.created, "first", (sequence,), published).to_conf(), **more}


async def published_at(connection: Connection, sequence: int) -> int:
    return microseconds((await connection.js.get_msg(STREAM, sequence)).time)


async def test_a_run_that_carries_the_message_is_its_run(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    source = await prepared(connection, airflow)
    await publish(connection, 2)
    stub.add(f"kai__{source.created}__1", conf_of(source, 1, await published_at(connection, 1)))
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 2)
        await ended_well(connection, source)
    each_once(stub, [1, 2])
    assert await dead(connection) == []


@pytest.mark.parametrize(
    "conf",
    [
        None,
        {"payload": "by hand"},
        {"sequences": "1", "stream": "other", "created": "x", "trigger": "first", "published": "1"},
        {"sequences": "1-99999999999999"},
    ],
)
async def test_another_run_with_the_id_makes_a_dead_letter_and_holds_nobody_up(
    connection: Connection, airflow: Airflow, stub: AirflowStub, conf: dict[str, object] | None
) -> None:
    source = await prepared(connection, airflow)
    await publish(connection, 2)
    stub.add(f"kai__{source.created}__1", conf)
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 2)
        await ended_well(connection, source)
    (letter,) = await dead(connection)
    assert (letter.sequence, letter.attempts) == (1, 1)
    assert "another run" in letter.reason


async def test_of_a_group_that_is_partly_in_a_run_the_rest_gets_its_own(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """The number of messages per run was changed between the run and the ack."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 10)
    for n in (1, 2, 3):
        stub.add(f"kai__{source.created}__{n}", conf_of(source, n, await published_at(connection, n)))
    async with at_work(intake_of(connection, airflow, source, per_run=10).work()):
        await stub.until(lambda: len(stub.carried()) >= 10)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert [run.sequences for run in stub.started()] == [(1,), (2,), (3,), (4, 5, 6, 7, 8, 9, 10)]


async def test_a_stream_made_anew_starts_runs_of_its_own_and_the_bridge_notices(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    async with at_work(serving(connection, airflow)):
        await streams_made(connection)
        await publish(connection, 20)
        await stub.until(lambda: len(stub.runs) == 20)
        old = {run.run_id: run.sequences for run in stub.started()}
        before = await created(connection.js, STREAM)
        await connection.js.delete_stream(STREAM)
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await connection.js.stream_info(STREAM)).state.consumer_count >= 4:
                        break
                except Exception:  # noqa: BLE001 - not there yet
                    await asyncio.sleep(0.05)
        after = await created(connection.js, STREAM)
        assert before != after
        await publish(connection, 20)
        await stub.until(lambda: len(stub.runs) == 40)
    assert [run.run_id for run in stub.started()[20:]] == [f"kai__{after}__{n}" for n in range(1, 21)]
    assert {run.run_id: run.sequences for run in stub.started()[:20]} == old


# messages_per_run changes, and crashes in between.


@pytest.mark.usefixtures("quick")
async def test_what_was_grouped_stays_grouped_when_the_number_changes_to_and_fro(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """Each intake dies after its group was written down, before its run was made and its messages were acked."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 30)
    pause = asyncio.Event()

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if request.method == "POST" and not pause.is_set():
            return web.Response(status=503)
        return await act()

    stub.fault = fault
    dying = intake_of(connection, airflow, source, per_run=10)
    await die_after_writing(dying)
    for per_run in (1, 10, 1, 7):
        async with at_work(intake_of(connection, airflow, source, per_run).work()):
            posts = stub.posts()
            await stub.until(lambda posts=posts: stub.posts() > posts + 2)  # type: ignore[misc]
    pause.set()
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.carried()) >= 30)
        await ended_well(connection, source)
    each_once(stub, sequences, in_order=False)
    groups = [run.sequences for run in stub.started() if len(run.sequences) > 1]
    assert tuple(range(1, 11)) in groups


async def die_after_writing(dying: intake.Intake) -> None:
    """As a kill would: nothing is acked, and nothing handed back."""
    write = dying._groups.write
    async with asyncio.timeout(20):
        async with pull.pulling(dying.connection, STREAM, dying.source.messages) as pulling:
            batch = await pulling.batch(10, 0.05)
            assert len(batch) == 10
            read = [(one, codec.decode(one.data)) for one in batch]
            await dying._groups.grouped(1)
            origin = dying._origin([one for one, _ in read])
            assert await write(run_request(origin, [found for _, found in read]))


# A gate that is closed.


@pytest.mark.parametrize("how", ["paused", "missing", "stale", "broken"])
async def test_a_dag_that_takes_no_runs_has_its_messages_wait(
    connection: Connection, airflow: Airflow, stub: AirflowStub, how: str
) -> None:
    dag = stub.dags[DAG]
    match how:
        case "paused":
            dag.is_paused = True
        case "missing":
            del stub.dags[DAG]
        case "stale":
            dag.is_stale = True
        case "broken":
            dag.has_import_errors = True
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 300)
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.asked) >= 4)
        assert stub.posts() == 0
        dag.is_paused = dag.is_stale = dag.has_import_errors = False
        stub.dags[DAG] = dag
        await stub.until(lambda: len(stub.runs) >= 1, 4)
        await stub.until(lambda: len(stub.runs) == 300)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert await dead(connection) == []


async def test_a_dag_that_breaks_between_the_look_and_the_run_makes_no_dead_letters(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """Airflow refuses with 400 or 404 then."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 60)

    breaks = {10: "has_import_errors", 20: "is_stale"}

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if request.method == "POST" and (what := breaks.pop(len(stub.runs), "")):
            setattr(stub.dag, what, True)
            return await act()
        answer = await act()
        if request.path.endswith(DAG):
            stub.dag.has_import_errors = stub.dag.is_stale = False
        return answer

    stub.fault = fault
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 60)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert await dead(connection) == []


async def test_not_more_runs_wait_than_may(connection: Connection, airflow: Airflow, stub: AirflowStub) -> None:
    stub.new_runs_are = "queued"
    source = await prepared(connection, airflow)
    await publish(connection, 50)
    async with at_work(intake_of(connection, airflow, source, most_queued=7).work()):
        await stub.until(lambda: len(stub.runs) == 7)
        looks = len(stub.asked)
        await stub.until(lambda: len(stub.asked) >= looks + 6)
        assert len(stub.runs) == 7
        for run in stub.started()[:3]:
            run.state = "running"
        await stub.until(lambda: len(stub.runs) == 10)
        for _ in range(40):
            for run in stub.started():
                run.state = "running"
            if len(stub.runs) == 50:
                break
            known = len(stub.runs)
            await stub.until(lambda known=known: len(stub.runs) > known)  # type: ignore[misc]
    each_once(stub, list(range(1, 51)))


async def test_what_airflow_refuses_for_good_is_a_dead_letter_and_the_rest_goes_on(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    source = await prepared(connection, airflow)
    await publish(connection, 30)

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if request.method == "POST" and (await request.json())["dag_run_id"].endswith("__7"):
            return web.json_response({"detail": "allowed_run_id_pattern"}, status=400)
        return await act()

    stub.fault = fault
    async with at_work(intake_of(connection, airflow, source).work()):
        await stub.until(lambda: len(stub.runs) == 29)
        await ended_well(connection, source)
    each_once(stub, [n for n in range(1, 31) if n != 7])
    (letter,) = await dead(connection)
    assert letter.sequence == 7
    assert "allowed_run_id_pattern" in letter.reason


async def test_an_airflow_that_answers_nothing_sensible_makes_no_dead_letters(
    connection: Connection, airflow: Airflow, stub: AirflowStub
) -> None:
    """A proxy in front of it shows a page of its own, redirects, or forbids, for a while."""
    source = await prepared(connection, airflow)
    sequences = await publish(connection, 10)
    async with at_work(intake_of(connection, airflow, source).work()):
        for status, text in ((200, "<html>"), (200, "{}"), (302, ""), (403, "no"), (405, "no"), (404, "no")):
            stub.fault = answering(status, text)
            asked = len(stub.asked)
            await stub.until(lambda asked=asked: len(stub.asked) > asked)  # type: ignore[misc]
        stub.fault = None
        await stub.until(lambda: len(stub.runs) == 10)
        await ended_well(connection, source)
    each_once(stub, sequences)
    assert await dead(connection) == []
