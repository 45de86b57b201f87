"""``kai-airflow audit``: the messages of a stream against the runs of an Airflow."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from kai_airflow.bridge.runs import deadletters
from kai_airflow.bridge.runs.audit import compare
from kai_airflow.bridge.runs.groups import Groups
from kai_airflow.bridge.runs.requests import run_request
from kai_airflow.messaging.codec import Message, pack
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.origin import Origin
from kai_airflow.plan import names
from tests.cli.conftest import DAG, PER_RUN, STREAM, krt

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from tests.cli.conftest import Desk

LONG_AGO = "2020-01-01T00:00:00+00:00"
SECONDS = 15.0  # for ten thousand messages and as many runs; about two on an idle machine


@pytest.fixture(autouse=True)
async def _site(desk: Desk) -> None:
    """A stream that a bridge serves, and an Airflow that has kept its first run."""
    await desk.prepare()
    await serve(desk)
    desk.airflow.add_run(DAG, "manual__1", {}, run_after=LONG_AGO)


async def serve(desk: Desk) -> None:
    """The bridge's consumers."""
    source = await desk.source()
    for name, subjects in (
        (source.messages, [str(one) for one in names.live_subjects(STREAM, "start")]),
        (source.groups, [str(names.groups_subject(STREAM, "start"))]),
    ):
        config = ConsumerConfig(
            durable_name=name, ack_policy=AckPolicy.EXPLICIT, filter_subjects=subjects, max_ack_pending=100_000
        )
        await desk.connection.js.add_consumer(STREAM, config)


async def taken(desk: Desk, count: int, consumer: str = "") -> list[Msg]:
    """Messages in the hands of a bridge, not acked yet."""
    pull = await desk.connection.js.pull_subscribe_bind(consumer or (await desk.source()).messages, STREAM)
    found: list[Msg] = []
    while len(found) < count:
        found += await pull.fetch(count - len(found), timeout=20)
    return found


async def acked(desk: Desk, count: int, consumer: str = "") -> None:
    for message in await taken(desk, count, consumer):
        await message.ack()
    await desk.connection.nc.flush()


async def has_run(desk: Desk, *sequences: int) -> str:
    origin = await desk.origin(*sequences)
    desk.airflow.add_run(DAG, origin.run_id, origin.to_conf())
    return origin.run_id


async def audited(desk: Desk, *words: str) -> tuple[int, dict[str, object]]:
    ran = await desk.run("audit", DAG, "--json", *words)
    assert ran.out, ran.err
    said: dict[str, object] = json.loads(ran.out)
    return ran.code, said


def kinds(said: dict[str, object]) -> list[tuple[str, str]]:
    differences = said["differences"]
    assert isinstance(differences, list)
    return [(one["kind"], one["sequences"]) for one in differences]


async def test_messages_that_are_each_in_a_run_are_well(desk: Desk) -> None:
    for _ in range(3):
        await desk.publish()
    await acked(desk, 3)
    for n in (1, 2, 3):
        await has_run(desk, n)
    ran = await desk.run("audit")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{DAG}: well: 3 message(s): 3 in runs, 0 waiting, 0 dead letters\n"


async def test_lost_and_doubled_messages_are_differences_and_end_with_1(desk: Desk) -> None:
    for _ in range(4):
        await desk.publish()
    await acked(desk, 4)
    first = await has_run(desk, 1)
    await has_run(desk, 4)
    whole = await desk.origin(1, 2)
    desk.airflow.runs[DAG, first]["conf"] = whole.to_conf()
    desk.airflow.add_run(DAG, (await desk.origin(2)).run_id, (await desk.origin(2)).to_conf())
    ran = await desk.run("audit", DAG)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        f"{DAG}: 2 difference(s): 4 message(s): 3 in runs, 0 waiting, 0 dead letters",
        f"  twice: message(s) 2 of start in {STREAM}: in several runs, {first}, {(await desk.origin(2)).run_id}",
        f"  lost: message(s) 3 of start in {STREAM}: in no run, no dead letters, and not waiting",
    ]
    code, said = await audited(desk)
    assert (code, kinds(said)) == (1, [("twice", "2"), ("lost", "3")])


async def test_what_waits_is_no_difference_whether_delivered_or_not(desk: Desk) -> None:
    for _ in range(3):
        await desk.publish()
    in_hand = await taken(desk, 2)
    assert (await audited(desk))[1]["waiting"] == 3
    await in_hand[0].ack()
    await desk.connection.nc.flush()
    code, said = await audited(desk)
    assert (code, kinds(said), said["waiting"]) == (1, [("lost", "1")], 2)


async def test_without_a_bridge_all_waits(desk: Desk) -> None:
    await desk.connection.js.delete_consumer(STREAM, (await desk.source()).messages)
    await desk.publish()
    assert (await audited(desk))[1]["waiting"] == 1


async def test_messages_that_share_a_run_wait_as_long_as_their_record(desk: Desk) -> None:
    desk.write(krt(more=PER_RUN))
    for _ in range(2):
        await desk.publish()
    groups, origin = Groups(desk.connection, STREAM, "start"), await desk.origin(1, 2)
    request = run_request(origin, [Message("r", pack(None))] * 2)
    await groups.grouped(1)
    assert await groups.write(request)
    await acked(desk, 2)
    code, said = await audited(desk)
    assert (code, said["waiting"]) == (0, 2)
    await acked(desk, 1, (await desk.source()).groups)
    assert kinds((await audited(desk))[1]) == [("lost", "1-2")]
    await has_run(desk, 1, 2)
    code, said = await audited(desk)
    assert (code, said["in_runs"]) == (0, 2)


async def test_dead_letters_and_what_became_of_them_are_no_differences(desk: Desk) -> None:
    for _ in range(3):
        await desk.publish_bytes(b"\xff")
    await acked(desk, 3)
    for n in (1, 2, 3):
        await deadletters.bury(desk.connection, STREAM, await desk.created(), n, reason="broken", attempts=1)
    code, said = await audited(desk)
    assert (code, said["dead"]) == (0, 3)
    assert (await desk.run("deadletters", "drop", "1", "--yes")).code == 0
    assert (await desk.run("deadletters", "redrive", "2")).code == 0
    code, said = await audited(desk)
    assert (code, said["dead"], said["settled"], said["waiting"], said["messages"]) == (0, 1, 2, 1, 4)


async def test_replays_and_runs_of_people_do_not_count(desk: Desk) -> None:
    await desk.publish()
    await acked(desk, 1)
    await has_run(desk, 1)
    assert (await desk.run("replay", DAG, "--seq", "1")).code == 0
    desk.airflow.add_run(DAG, "kai__by_hand", {"payload": 1})
    code, said = await audited(desk)
    assert (code, said["in_runs"], said["differences"], said["unsure"]) == (0, 1, [], [])


async def test_a_stream_that_was_made_anew_and_one_that_is_not_there_are_told(desk: Desk) -> None:
    await desk.publish()
    await acked(desk, 1)
    await has_run(desk, 1)
    await desk.connection.js.delete_stream(STREAM)
    code, said = await audited(desk)
    assert code == 0
    assert said["unsure"] == [
        f"there is no stream {STREAM} (yet): no messages",
        "1 run(s) carry messages of streams that were deleted or made anew since, or aren't this DAG's",
    ]
    await desk.prepare()
    await serve(desk)
    await desk.publish()
    await acked(desk, 1)
    await has_run(desk, 1)
    code, said = await audited(desk)
    assert (code, said["in_runs"]) == (0, 1)
    assert said["unsure"] == [
        "1 run(s) carry messages of streams that were deleted or made anew since, or aren't this DAG's"
    ]


async def test_messages_of_a_version_before_that_a_bridge_takes_in_are_looked_at_too(desk: Desk) -> None:
    await desk.publish()
    await acked(desk, 1)
    desk.write(krt(version="v1.1.0"))
    code, said = await audited(desk)
    assert (code, kinds(said)) == (1, [("lost", "1")])
    assert said["unsure"] == ["there is no stream shop_v1_1_0_train (yet): no messages"]


async def test_runs_that_airflow_has_deleted_are_told_as_unknown(desk: Desk) -> None:
    await desk.publish()
    await acked(desk, 1)
    desk.airflow.runs.clear()
    desk.airflow.add_run(DAG, "manual__2", {}, run_after=datetime.now(UTC).isoformat())
    ran = await desk.run("audit", DAG)
    assert ran.code == 0
    assert re.search(r"not known: message\(s\) 1 of 'start' .* their runs may have been deleted", ran.out)


async def test_it_waits_until_nothing_waits_any_more(desk: Desk) -> None:
    await desk.publish()
    (in_hand,) = await taken(desk, 1)
    code, said = await audited(desk, "--wait", "0.1")
    assert (code, said["waiting"]) == (0, 1)
    audits = await desk.start("audit", DAG, "--json", "--wait", "60")
    await has_run(desk, 1)
    await in_hand.ack()
    ran = await audits.ended()
    assert (ran.code, json.loads(ran.out)["in_runs"], json.loads(ran.out)["waiting"]) == (0, 1, 0)


async def test_a_krt_with_errors_is_told_and_isnt_taken_for_well(desk: Desk) -> None:
    (desk.dags / "broken").mkdir()
    (desk.dags / "broken" / "krt.yaml").write_text("version: v1.0.0\n")
    ran = await desk.run("audit")
    assert ran.code == 2
    assert "1 KRT file(s) with errors are left out: " in ran.err
    ran = await desk.run("audit", "broken.train")
    assert (ran.code, ran.out) == (2, "")
    assert "Remedy: kai-airflow validate " in ran.err


async def test_workflows_that_stream_are_left_out_or_refused(desk: Desk) -> None:
    desk.write(krt(kind="serving"), product="live")
    assert len((await desk.run("audit", "--json")).out.splitlines()) == 1
    ran = await desk.run("audit", "live.train")
    assert ran.code == 2
    assert "live.train streams: its messages go to its live processes" in ran.err


async def test_ten_thousand_messages_and_runs_take_seconds(desk: Desk) -> None:
    count = 10_000
    for _ in range(count // 1000):
        for _ in range(1000):
            await desk.connection.js.publish_async(f"{STREAM}.start", b"x" * 1000)
        await desk.connection.js.publish_async_completed()
    moment = await desk.created()
    async for one in Reader(desk.connection, STREAM, [f"{STREAM}.start"], bare=True).kept():
        origin = Origin(STREAM, moment, "start", (one.sequence,), one.published)
        desk.airflow.add_run(DAG, origin.run_id, origin.to_conf())
    began = time.monotonic()
    code, said = await audited(desk)
    took = time.monotonic() - began
    assert (code, said["in_runs"], said["differences"]) == (0, count, [])
    assert took < SECONDS


def test_the_json_names_all_that_was_found() -> None:
    assert set(compare(DAG, [], [], None).as_dict()) == {
        *("dag_id", "messages", "in_runs", "waiting", "dead", "settled", "differences", "unsure")
    }
