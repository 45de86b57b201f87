"""Which runs have ended: each is answered, whenever it shows, and a bridge goes on where the last one was."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from kai_airflow.bridge.runs import ended as bridge_ended
from kai_airflow.bridge.runs import replies as bridge_replies
from kai_airflow.bridge.runs.ended import BUCKET, Ended
from kai_airflow.bridge.runs.replies import Record
from tests.bridge.answering import answers_of, asked, ended, ids, left, out
from tests.bridge.parts import STREAM, WORKFLOW, at_work, prepared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.bridge.client import Airflow, Run
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import Act, AirflowStub, StubRun


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_ended, "POLL", 0.02)
    monkeypatch.setattr(bridge_ended, "FAILED", 0.02)
    monkeypatch.setattr(bridge_ended, "LONG_LOOK", timedelta(seconds=0.1))


@pytest.fixture
async def following(connection: Connection, airflow: Airflow) -> Ended:
    await prepared(connection, airflow)
    return Ended(answers_of(connection, airflow))


async def answered(connection: Connection, *request_ids: str) -> None:
    """Wait until these are, in whatever order; each once, and none beside them."""
    async with asyncio.timeout(20):
        while len(found := await ids(connection)) < len(request_ids):
            pass
    assert sorted(found) == sorted(request_ids)


@asynccontextmanager
async def looks(stub: AirflowStub, following: Ended, count: int = 3) -> AsyncIterator[None]:
    """While it follows; in the end it has looked so many times more at everything."""
    async with at_work(following.follow()):
        yield
        for _ in range(count):
            known = following._looked
            await stub.until(lambda known=known: following._looked > known)  # type: ignore[misc]


async def run_of(connection: Connection, stub: AirflowStub, request_id: str, ago: float = 0) -> StubRun:
    """A run that ended so many seconds ago, and shows only now."""
    run = await ended(connection, stub, await asked(connection, request_id), [out(request_id)])
    run.end = datetime.now(UTC) - timedelta(seconds=ago)
    return run


async def test_all_that_end_are_answered_once(connection: Connection, stub: AirflowStub, following: Ended) -> None:
    old = [f"old-{n}" for n in range(130)]
    for n, one in enumerate(old):
        await run_of(connection, stub, one, 1000 - n)
    async with looks(stub, following):
        await answered(connection, *old)
        new = [f"new-{n}" for n in range(20)]
        for one in new:
            await run_of(connection, stub, one)
        await answered(connection, *old, *new)
    await answered(connection, *old, *new)


async def test_an_end_that_shows_late_is_answered_still(
    connection: Connection, stub: AirflowStub, following: Ended
) -> None:
    """A transaction of the scheduler took long, or its clock is behind."""
    async with looks(stub, following):
        await run_of(connection, stub, "now")
        await answered(connection, "now")
        await run_of(connection, stub, "late", 50)
        await answered(connection, "now", "late")
        await run_of(connection, stub, "a little late", 3)
        await answered(connection, "now", "late", "a little late")


async def test_an_end_in_the_future_hides_none_of_today(
    connection: Connection, stub: AirflowStub, following: Ended
) -> None:
    """One of several schedulers has a clock of its own."""
    async with looks(stub, following):
        await run_of(connection, stub, "tomorrow", -86400)
        await answered(connection, "tomorrow")
    async with looks(stub, following):
        await run_of(connection, stub, "today")
        await answered(connection, "tomorrow", "today")
    async with looks(stub, Ended(following.answers)):
        await run_of(connection, stub, "and again")
        await answered(connection, "tomorrow", "today", "and again")


async def test_where_a_bridge_was_is_noted_and_the_next_one_goes_on_from_there(
    connection: Connection, stub: AirflowStub, following: Ended
) -> None:
    async with looks(stub, following):
        await run_of(connection, stub, "old", 500)
        run = await run_of(connection, stub, "new", 100)
        await answered(connection, "old", "new")
    assert run.end is not None
    assert following.since == run.end - bridge_ended.LATE
    assert not any(end < following.since for end in following._answered.values())
    other = Ended(following.answers)
    async with looks(stub, other):
        await run_of(connection, stub, "while nobody was there", 80)
        await answered(connection, "old", "new", "while nobody was there")
    assert other.since >= following.since


async def test_bridges_of_other_airflows_note_elsewhere(connection: Connection, following: Ended) -> None:
    other = answers_of(connection, following.answers.airflow)
    before = Ended(other)._key
    following.answers.airflow.url += "/other"
    assert Ended(following.answers)._key != before


@pytest.mark.parametrize("what", ["junk", "deleted", "bucket"])
async def test_a_note_that_is_gone_or_that_nobody_can_read_is_none(
    connection: Connection, stub: AirflowStub, following: Ended, what: str
) -> None:
    bucket = await following._bucket()
    await bucket.put(following._key, b"yesterday")
    if what == "deleted":
        await bucket.delete(following._key)
    elif what == "bucket":
        await connection.js.delete_key_value(BUCKET)
    async with looks(stub, following):
        await run_of(connection, stub, "a", 500)
        await answered(connection, "a")


async def test_one_that_cannot_be_answered_yet_holds_the_note_back_and_no_other_up(
    connection: Connection, stub: AirflowStub, following: Ended, caplog: pytest.LogCaptureFixture, soon: None
) -> None:
    broken = await run_of(connection, stub, "broken", 300)

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if broken.run_id in request.path and failing:
            return web_error()
        return await act()

    failing = [True]
    stub.fault = fault
    async with looks(stub, following):
        await run_of(connection, stub, "fine", 100)
        await answered(connection, "fine")
    assert broken.end is not None
    assert following.since <= broken.end
    assert sum("can't be answered yet" in line for line in caplog.messages) == 1
    failing.clear()
    async with looks(stub, following):
        await answered(connection, "fine", "broken")
    assert following.since > broken.end


def web_error() -> web.Response:
    return web.Response(status=500)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_replies, "TAKEOVER", timedelta(0))


async def test_one_that_another_bridge_has_begun_is_taken_over_when_that_one_is_dead(
    connection: Connection, stub: AirflowStub, following: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_of(connection, stub, "a")
    assert await Record(connection, STREAM, 1).take() == "ours"
    async with looks(stub, following):
        await stub.until(lambda: len(following._open) == 1)
        assert await ids(connection) == []
        monkeypatch.setattr(bridge_replies, "TAKEOVER", timedelta(0))
        await answered(connection, "a")


async def test_an_airflow_that_is_away_is_waited_for(
    connection: Connection, stub: AirflowStub, following: Ended, caplog: pytest.LogCaptureFixture
) -> None:
    async def down(request: web.Request, act: Act) -> web.StreamResponse:
        return web_error()

    stub.fault = down
    async with looks(stub, following):
        await stub.until(lambda: len(stub.asked) > 5)
        stub.fault = None
        await run_of(connection, stub, "a")
        await answered(connection, "a")
    assert sum("replies wait" in line for line in caplog.messages) == 1


async def test_a_run_that_is_cleared_and_ends_again_is_answered_once(
    connection: Connection, stub: AirflowStub, following: Ended
) -> None:
    async with looks(stub, following):
        run = await run_of(connection, stub, "a")
        await answered(connection, "a")
        stub.clear(run)
        await left(connection, run, "out", [out("a", "again")])
        stub.end(run)
    await answered(connection, "a")


async def test_runs_of_a_dag_whose_file_is_broken_just_now_are_answered_when_it_is_mended(
    connection: Connection, stub: AirflowStub, following: Ended
) -> None:
    """A bridge that starts meanwhile knows nothing of it."""
    following.answers.workflows = {}
    await run_of(connection, stub, "a", 300)
    other_dag = await run_of(connection, stub, "b")
    stub.runs["shop.other", other_dag.run_id] = stub.runs.pop((other_dag.dag_id, other_dag.run_id))
    other_dag.dag_id = "shop.other"
    async with looks(stub, following):
        pass
    assert await ids(connection) == []
    other = Ended(following.answers)
    async with looks(stub, other):
        other.answers.workflows = {WORKFLOW.dag_id: WORKFLOW}
        await answered(connection, "a")


async def test_runs_of_a_dag_that_is_gone_are_given_up_after_an_hour(
    connection: Connection, stub: AirflowStub, following: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.answers.workflows = {}
    run = await run_of(connection, stub, "a", 300)
    assert run.end is not None
    await run_of(connection, stub, "b", 100)
    async with looks(stub, following):
        pass
    assert len(following._open) == 2
    assert following.since <= run.end
    monkeypatch.setattr(bridge_ended, "UNKNOWN", timedelta(0))
    async with looks(stub, following):
        pass
    assert following._open == {}
    assert following.since > run.end


async def test_one_that_never_can_be_answered_is_given_up_after_a_day(
    connection: Connection,
    stub: AirflowStub,
    following: Ended,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never(run: Run) -> bool:
        return False

    monkeypatch.setattr(following.answers, "give", never)
    run = await run_of(connection, stub, "a")
    async with looks(stub, following):
        pass
    assert len(following._open) == 1
    monkeypatch.setattr(bridge_ended, "PATIENCE", timedelta(0))
    async with looks(stub, following):
        pass
    assert following._open == {}
    assert [line for line in caplog.messages if "without an answer" in line] == [
        f"run {run.run_id} of {run.dag_id} stays without an answer"
    ]


async def test_a_defect_in_the_way_of_one_answer_stops_no_other(
    connection: Connection, stub: AirflowStub, following: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    give = following.answers.give

    async def broken(run: Run) -> bool:
        if run.conf["sequences"] == "1":
            raise RuntimeError("a defect")
        return await give(run)

    monkeypatch.setattr(following.answers, "give", broken)
    await run_of(connection, stub, "a", 10)
    await run_of(connection, stub, "b")
    async with looks(stub, following):
        await answered(connection, "b")
