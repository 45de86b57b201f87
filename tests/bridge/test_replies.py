"""The way back to who asked, on a real nats-server: once per request, whoever dies."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from kai_airflow.bridge.client import AirflowError
from kai_airflow.bridge.runs import replies as bridge_replies
from kai_airflow.bridge.runs.replies import Answers, Record
from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import MessageType
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.guarded import publish_after
from kai_airflow.plan import names
from tests.bridge.airflow_stub import DAG, AirflowStub, answering
from tests.bridge.answering import answers_of, asked, ended, ids, left, out, replies, seen
from tests.bridge.parts import STREAM, WORKFLOW, prepared, workflow_of

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Airflow
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import Act
    from tests.conftest import NatsServer

ERROR = MessageType.ERROR


@pytest.fixture
async def answers(connection: Connection, airflow: Airflow) -> Answers:
    await prepared(connection, airflow)
    return answers_of(connection, airflow)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was begun and not ended is anybody's at once."""
    monkeypatch.setattr(bridge_replies, "TAKEOVER", timedelta(0))


async def test_what_an_exit_published_goes_back_as_it_is_once(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    origin = await asked(connection, "a", "b")
    run = await ended(connection, stub, origin, [out("a", 1), out("b", 2, "go"), out("a", [3], "hot.new")])
    assert await answers.give(await seen(airflow, run))
    assert await answers.give(await seen(airflow, run))
    assert await answers_of(connection, airflow).give(await seen(airflow, run))
    found = await replies(connection)
    assert [(channel, m.request_id, codec.unpack(m.payload)) for channel, m in found] == [
        ("", "a", 1),
        ("go", "b", 2),
        ("hot.new", "a", [3]),
    ]
    assert all((m.from_node, m.type, m.error) == ("out", MessageType.OK, "") for _, m in found)


async def test_several_exits_answer_each_for_itself(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a", 1)])
    await left(connection, run, "also", [out("a", 2), out("a", 3)])
    run.tasks["also"] = "success"
    assert await answers.give(await seen(airflow, run))
    assert len(await replies(connection)) == 1
    assert len(await replies(connection, "also")) == 2


async def test_a_run_that_is_cleared_and_ends_again_is_answered_no_second_time(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a")])
    assert await answers.give(await seen(airflow, run))
    stub.clear(run)
    await left(connection, run, "out", [out("a", "another")])
    stub.end(run)
    assert await answers.give(await seen(airflow, run))
    assert len(await replies(connection)) == 1


async def test_a_failed_run_is_an_error_for_each_request_from_the_exit_that_the_trigger_waits_for(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a", "b", "a"), [], "failed")
    run.tasks |= {"work": "failed", "out": "upstream_failed"}
    assert await answers.give(await seen(airflow, run))
    found = await replies(connection)
    assert [(channel, m.request_id, m.type, m.from_node) for channel, m in found] == [
        ("", "a", ERROR, "out"),
        ("", "b", ERROR, "out"),
    ]
    assert found[0][1].error == f"run {run.run_id} of {DAG} failed: work"
    assert await replies(connection, "also") == []


async def test_a_failed_group_gives_what_results_there_are_and_errors_for_the_rest(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a", "b", "c"), [out("b")], "failed")
    run.tasks["out"] = "failed"
    assert await answers.give(await seen(airflow, run))
    found = {m.request_id: m.type for _, m in await replies(connection)}
    assert found == {"b": MessageType.OK, "a": ERROR, "c": ERROR}


async def test_a_trigger_that_waits_for_no_exit_hears_of_a_failure_from_the_first(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a", trigger="second"), [], "failed")
    run.tasks = {}
    assert await answers.give(await seen(airflow, run))
    ((_, found),) = [*await replies(connection), *await replies(connection, "also")]
    assert found.error.endswith("failed: before its first task")


# Who gets none.


async def test_a_run_that_a_person_or_a_replay_started_gets_no_answer(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    origin = await asked(connection, "a")
    for run_id, conf in [
        ("manual__1", {"payload": 1}),
        ("manual__2", origin.to_conf()),
        (origin.replay_id("20260101T000000Z"), origin.to_conf()),
        ("kai__by-hand", None),
        ("kai__by-hand-2", {"payload": 1}),
    ]:
        run = stub.add(run_id, conf)
        await left(connection, run, "out", [out("a")])
        stub.end(run, out="success")
        assert await answers.give(await seen(airflow, run))
    assert await replies(connection) == []
    # And the request's own run is answered still.
    assert await answers.give(await seen(airflow, await ended(connection, stub, origin, [out("a")])))
    assert await ids(connection) == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"published": "1"},
        {"trigger": "second"},
        {"trigger": "nobody"},
        {"created": "20260102T030405123456Z"},
        {"sequences": "1-9999999999999"},
    ],
)
async def test_a_run_whose_id_is_imitated_gets_no_answer(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, change: dict[str, str]
) -> None:
    origin = await asked(connection, "a")
    run = await ended(connection, stub, origin, [out("a")])
    run.conf = {**origin.to_conf(), **change}
    assert await answers.give(await seen(airflow, run))
    assert await replies(connection) == []
    # It takes nothing from who it pretends to be.
    run.conf = origin.to_conf()
    assert await answers.give(await seen(airflow, run))
    assert await ids(connection) == ["a"]


async def test_a_run_of_another_dag_does_not_answer_in_this_ones_place(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    """Somebody copied its id and its conf."""
    origin = await asked(connection, "a")
    other = stub.add(origin.run_id, origin.to_conf(), "shop.other")
    await left(connection, other, "out", [out("a", "other")])
    stub.end(other, out="success")
    answers.workflows = {**answers.workflows, "shop.other": bridge_workflow("other")}
    assert await answers.give(await seen(airflow, other))
    assert await answers.give(await seen(airflow, await ended(connection, stub, origin, [out("a")])))
    assert [codec.unpack(m.payload) for _, m in await replies(connection)] == ["result"]


def bridge_workflow(name: str) -> Any:
    stream = names.live_stream("shop", "v1.0.0", name)
    return replace(WORKFLOW, dag_id=names.dag_id("shop", name, None), name=name, live_stream=stream)


async def test_requests_of_a_stream_that_was_made_anew_get_no_answer(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a")])
    await connection.js.delete_stream(STREAM)
    await prepared(connection, airflow)
    await asked(connection, "somebody else")
    assert await answers.give(await seen(airflow, run))
    assert await replies(connection) == []


async def test_requests_of_another_version_are_answered_where_they_came_from(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    """The DAG is of version v2.0.0 by now."""
    origin = await asked(connection, "a")
    newer = workflow_of("v2.0.0")
    answers.workflows = {newer.dag_id: newer}
    assert await answers.give(await seen(airflow, await ended(connection, stub, origin, [out("a")])))
    assert await ids(connection) == ["a"]


# Odd ones.


async def test_a_long_request_id_is_whole_in_the_answer(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    """Who asked knows no other."""
    long = "x" * 100_000
    run = await ended(connection, stub, await asked(connection, long, "b"), [], "failed")
    run.tasks["work"] = "failed"
    assert await answers.give(await seen(airflow, run))
    assert await ids(connection) == [long, "b"]


@pytest.mark.parametrize("missing", [0, 100, 300, 4000, 5000, 16_000, 16_250, 16_500, 17_000, 17_300])
async def test_a_result_of_any_size_is_answered_itself_or_by_an_error(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, missing: int
) -> None:
    """The exit may publish as much as the server takes; on the way back there are headers as well."""
    origin = await asked(connection, "a", "b")
    size = connection.max_payload - missing - 200
    large = codec.Message("a", codec.Payload("x", random.Random(missing).randbytes(size)), from_node="out")
    run = await ended(connection, stub, origin, [(large, ""), out("b")])
    assert await answers.give(await seen(airflow, run))
    first, second = [m for _, m in await replies(connection)]
    assert first.request_id == "a"
    assert first == large or (first.type == ERROR and "NATS takes" in first.error)
    assert second.request_id == "b"


async def test_an_answer_that_no_message_can_carry_holds_up_no_other(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    """A request id so long that not even an error has room beside it."""
    limit = (await connection.js.stream_info(STREAM)).config.max_msg_size or 0
    long = "".join(
        random.Random(1).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", k=limit - 100)
    )
    run = await ended(connection, stub, await asked(connection, long, "b"), [out("b")], "failed")
    run.tasks["out"] = "failed"
    assert await answers.give(await seen(airflow, run))
    assert "b" in await ids(connection)


def manifest_of(channels: Any, stream: str = WORKFLOW.run_stream) -> dict[str, Any]:
    return {"stream": stream, "process": "out", "fed": 1, "good": 1, "bad": 0, "channels": channels}


def sequences_of(text: str) -> dict[str, Any]:
    return {"": {"count": 1, "sequences": {"t": text}}}


@pytest.mark.parametrize(
    "manifest",
    [
        *(5, "x", [], {}, {"stream": "x"}, {"channels": 5}, None),
        *(manifest_of(5), manifest_of({"": {}}), manifest_of({"": 5})),
        *(manifest_of(sequences_of(text)) for text in ("1-99999999999", "x", "5-1")),
        *(manifest_of(sequences_of("1"), stream) for stream in ("no such.stream", "NOBODYS", STREAM)),
    ],
)
async def test_a_manifest_that_nobody_can_read_is_no_result(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, manifest: Any
) -> None:
    """People may write XComs."""
    run = await ended(connection, stub, await asked(connection, "a"), [])
    run.xcoms["out", "manifest"] = manifest
    assert await answers.give(await seen(airflow, run))
    assert await replies(connection) == []


async def test_what_has_expired_is_left_out_and_the_rest_is_answered(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    origin = await asked(connection, "a", "b")
    run = await ended(connection, stub, origin, [out("a"), out("b")])
    await connection.js.delete_msg(WORKFLOW.run_stream, 1)
    assert await answers.give(await seen(airflow, run))
    assert await ids(connection) == ["b"]


async def test_a_result_that_is_no_message_is_left_out(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a")])
    manifest = await left(connection, run, "out", [out("a"), out("b")])
    (try_id,) = manifest.channels[""]
    broken = await connection.js.publish(names.try_output(WORKFLOW.run_stream, try_id, "out"), b"\xff")
    run.xcoms["out", "manifest"]["channels"][""]["sequences"][try_id] = f"2-{broken.seq}"
    assert await answers.give(await seen(airflow, run))
    assert await ids(connection) == ["a", "b"]


# A run that is cleared while it is answered.


async def test_a_run_that_is_cleared_before_it_was_read_is_answered_at_its_next_end(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, soon: None
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a")])
    before = await seen(airflow, run)
    stub.clear(run)
    run.tasks["out"] = "running"
    await answers.give(before)
    assert await replies(connection) == []
    stub.end(run, out="success")
    assert await answers.give(await seen(airflow, run))
    assert await ids(connection) == ["a"]


async def test_a_run_that_is_deleted_before_it_was_read_holds_nobody_up(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    run = await ended(connection, stub, await asked(connection, "a"), [out("a")], "failed")
    before = await seen(airflow, run)
    del stub.runs[DAG, run.run_id]
    assert await answers.give(before)
    assert await replies(connection) == []


# Several bridges, and those that die.


async def test_bridges_that_race_answer_once(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers
) -> None:
    runs = [await ended(connection, stub, await asked(connection, f"r{n}"), [out(f"r{n}")]) for n in range(100)]
    found = [await seen(airflow, run) for run in runs]
    async with AsyncExitStack() as stack:
        bridges = [
            answers_of(await stack.enter_async_context(connect(nats_server.url, name=f"{n}")), airflow)
            for n in range(4)
        ]

        async def answer(one: Answers, seed: int) -> int:
            given = [await one.give(run) for run in random.Random(seed).sample(found, 100)]
            return sum(given)

        await asyncio.gather(*(answer(one, n) for n, one in enumerate(bridges)))
    assert sorted(await ids(connection)) == sorted(f"r{n}" for n in range(100))
    for run in found:
        assert await answers.give(run)


async def test_bridges_that_take_over_from_each_other_all_the_time_answer_once(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, soon: None
) -> None:
    """Each was only away for a while, and goes on where it was."""
    outputs = [out(f"r{n}", n, ("", "go", "hot.new")[n % 3]) for n in range(60)]
    run = await seen(airflow, await ended(connection, stub, await asked(connection, "r"), outputs))
    async with AsyncExitStack() as stack:
        bridges = [
            answers_of(await stack.enter_async_context(connect(nats_server.url, name=f"{n}")), airflow)
            for n in range(4)
        ]
        await asyncio.gather(*(one.give(run) for one in bridges))
    assert await answers.give(run)
    assert sorted(await ids(connection)) == sorted(f"r{n}" for n in range(60))


@pytest.mark.parametrize("after", [0, 1, 2, 5, 6])
async def test_where_a_bridge_dies_another_goes_on_after_a_while_with_the_rest(
    connection: Connection,
    airflow: Airflow,
    stub: AirflowStub,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """Dead when so many of six messages were sent; of all six, before that was written down."""
    origin = await asked(connection, "r")
    run = await seen(
        airflow, await ended(connection, stub, origin, [out(f"r{n}", n, ("", "go")[n % 2]) for n in range(6)])
    )
    sent = 0

    class DiedError(Exception):
        pass

    async def dying(*arguments: Any) -> int | None:
        nonlocal sent
        if arguments[2] == names.answer_subject(STREAM, 1) and arguments[3] == bridge_replies.BEGUN:
            return await publish_after(*arguments)
        if sent == after:
            raise DiedError
        sent += 1
        return await publish_after(*arguments)

    monkeypatch.setattr(bridge_replies, "publish_after", dying)
    with pytest.raises(DiedError):
        await answers.give(run)
    monkeypatch.setattr(bridge_replies, "publish_after", publish_after)
    assert len(await replies(connection)) == after
    other = answers_of(connection, airflow)
    assert not await other.give(run)
    monkeypatch.setattr(bridge_replies, "TAKEOVER", timedelta(0))
    assert await other.give(run)
    assert sorted(await ids(connection)) == [f"r{n}" for n in range(6)]
    assert await Record(connection, STREAM, 1).take() == "nobody"


async def test_an_airflow_that_fails_meanwhile_is_told_and_the_answer_comes_later(
    connection: Connection, airflow: Airflow, stub: AirflowStub, answers: Answers, soon: None
) -> None:
    run = await seen(airflow, await ended(connection, stub, await asked(connection, "a"), [out("a")]))
    for path in ("taskInstances", "xcomEntries"):

        async def fault(request: web.Request, act: Act, path: str = path) -> web.StreamResponse:
            return web.Response(status=500) if path in request.path else await act()

        stub.fault = fault
        with pytest.raises(AirflowError):
            await answers.give(run)
    stub.fault = answering(500, times=0)
    assert await answers.give(run)
    assert await ids(connection) == ["a"]
