"""``kai-airflow replay``: past messages as new runs."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.api import RetentionPolicy

from kai_airflow.bridge.runs.replay import Past, chunks
from kai_airflow.messaging import ranges
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import stored
from tests.cli.conftest import DAG, PER_RUN, STREAM, krt, process

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

ALSO = process("also", "trigger", "exit")


def carried(desk: Desk) -> list[tuple[str, tuple[int, ...]]]:
    """Trigger and messages of each run, in the order in which they were started."""
    origins = [Origin.from_conf(run["conf"]) for run in desk.airflow.of(DAG).values()]
    return [(origin.trigger, origin.sequences) for origin in origins]


async def when(desk: Desk, sequence: int) -> datetime:
    raw = await stored(desk.connection, STREAM, sequence)
    assert raw is not None
    assert raw.time is not None
    return raw.time


def test_a_run_gets_up_to_so_many_messages_of_one_trigger_and_the_oldest_run_comes_first() -> None:
    messages = [Past(n, "b" if n in (2, 5) else "a", 0) for n in range(1, 8)]
    sequences = [[one.sequence for one in chunk] for chunk in chunks(messages, 2)]
    assert sequences == [[1, 3], [2, 5], [4, 6], [7]]
    assert [[one.sequence for one in chunk] for chunk in chunks(messages, 1)] == [[n] for n in range(1, 8)]
    assert chunks([], 3) == []


async def test_messages_that_are_named_are_runs_again_each_with_an_id_of_its_own(desk: Desk) -> None:
    await desk.prepare()
    for n in range(1, 5):
        await desk.publish({"n": n}, f"request-{n}")
    ran = await desk.run("replay", DAG, "--seq", "2-3,9", "--json")
    assert ran.code == 0, ran.err
    runs = desk.airflow.of(DAG)
    assert [json.loads(line)["run_id"] for line in ran.out.splitlines()] == list(runs)
    origins = [Origin.from_conf(run["conf"]) for run in runs.values()]
    assert origins == [await desk.origin(2), await desk.origin(3)]
    moments = {run_id.removeprefix("kai-replay__").partition("__")[0] for run_id in runs}
    (moment,) = moments
    assert list(runs) == [origin.replay_id(moment) for origin in origins]
    first: dict[str, Any] = next(iter(runs.values()))
    assert first["note"] == f"replay of request request-2 of start: message 2 of {STREAM}"
    assert (first["conf"]["request_ids"], first["conf"]["preview"]) == (["request-2"], '{"n": 2}')
    assert ran.err == "2 run(s) started with 2 message(s)\n"


async def test_messages_of_another_version_become_runs_of_the_dag_as_it_is_now(desk: Desk) -> None:
    await desk.prepare()
    sequence = await desk.publish(1)
    desk.write(krt().replace("v1.0.0", "v1.1.0"))
    await desk.prepare()
    assert (await desk.run("replay", DAG, "--seq", str(sequence))).code == 2
    ran = await desk.run("replay", DAG, "--seq", str(sequence), "--version", "v1.0.0")
    assert ran.code == 0, ran.err
    (run,) = desk.airflow.of(DAG).values()
    assert (run["conf"]["stream"], run["conf"]["sequences"]) == (STREAM, str(sequence))


async def test_what_kai_left_waiting_becomes_runs_and_stays_with_kai(desk: Desk) -> None:
    """docs/from-kai.md: a process of KAI's that is broken, or is gone, has messages left in a stream by interest."""
    js = desk.connection.js
    await js.add_stream(name=STREAM, subjects=[f"{STREAM}.start", f"{STREAM}.exit"], retention=RetentionPolicy.INTEREST)
    await js.add_consumer(STREAM, durable_name="kai", filter_subject=f"{STREAM}.start")
    sequences = [await desk.publish(n, f"request-{n}") for n in range(3)]
    desk.write(krt(version="v1.0.1"))
    ran = await desk.run("replay", DAG, "--from", "2000-01-01", "--version", "v1.0.0")
    assert ran.code == 0, ran.err
    assert carried(desk) == [("start", (sequence,)) for sequence in sequences]
    info = await js.consumer_info(STREAM, "kai")
    assert ((await js.stream_info(STREAM)).state.messages, info.num_pending) == (3, 3)


async def test_a_replay_once_more_makes_runs_once_more(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    for _ in range(2):
        assert (await desk.run("replay", DAG, "--seq", "1")).code == 0
    assert carried(desk) == [("start", (1,)), ("start", (1,))]


async def test_messages_share_runs_as_the_krt_says_and_only_with_those_of_their_trigger(desk: Desk) -> None:
    desk.write(krt(ALSO, more=PER_RUN))
    await desk.prepare("start", "also", "exit")
    for n in range(1, 9):
        await desk.publish(n, trigger="also" if n in (2, 4) else "start")
    assert (await desk.run("replay", DAG, "--seq", "1-8")).code == 0
    assert carried(desk) == [("start", (1, 3, 5)), ("also", (2, 4)), ("start", (6, 7, 8))]
    desk.airflow.runs.clear()
    assert (await desk.run("replay", DAG, "--seq", "1-8", "--trigger", "also")).code == 0
    assert carried(desk) == [("also", (2, 4))]


async def test_times_choose_from_the_first_on_and_before_the_second(desk: Desk) -> None:
    await desk.prepare()
    for n in range(1, 6):
        await desk.publish(n)
    since, until = await when(desk, 2), await when(desk, 4)
    ran = await desk.run("replay", DAG, "--from", since.isoformat(), "--to", until.isoformat())
    assert ran.code == 0, ran.err
    assert carried(desk) == [("start", (2,)), ("start", (3,))]
    desk.airflow.runs.clear()
    unzoned = until.astimezone(UTC).replace(tzinfo=None).isoformat()
    ran = await desk.run("replay", DAG, "--from", unzoned)
    assert f"--from: {unzoned} is taken as UTC\n" in ran.err
    assert carried(desk) == [("start", (4,)), ("start", (5,))]
    elsewhere = since.astimezone().astimezone(tz=None).replace(tzinfo=UTC) + timedelta(hours=1)
    ran = await desk.run("replay", DAG, "--from", elsewhere.isoformat().replace("+00:00", "+01:00"), "--dry-run")
    assert "4 run(s) would be started with 4 message(s)" in ran.err


async def test_a_dry_run_tells_the_runs_and_starts_none(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    ran = await desk.run("replay", DAG, "--seq", "1", "--dry-run")
    assert ran.code == 0
    assert f"__{await desk.created()}__1: request r of start: message 1 of {STREAM}\n" in ran.out
    assert ran.err == "1 run(s) would be started with 1 message(s)\n"
    assert carried(desk) == []


async def test_what_nobody_can_read_is_left_out_and_told(desk: Desk) -> None:
    desk.write(krt(more=PER_RUN))
    await desk.prepare()
    for data in (b"\xff", None, b"\xff", b"\xff", b"\xff", b"\xff"):
        await (desk.publish() if data is None else desk.publish_bytes(data))
    ran = await desk.run("replay", DAG, "--seq", "1-6")
    assert ran.code == 0
    assert carried(desk) == [("start", (2,))]
    assert "message 1 is left out: not a message" in ran.err
    assert ran.err.endswith("1 run(s) started with 1 message(s)\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seq", "7"], f"stream {STREAM} holds no such message of start (any more). Remedy: name other times"),
        (["--seq", "5-x"], "--seq: '5-x' names no messages. Remedy: write numbers from 1 on, as 5-7,9."),
        (["--seq", "3-2"], "--seq: '3-2' names no messages"),
        (["--seq", "0"], "--seq: '0' names no messages"),
        (["--seq", "1", "--to", "2026-01-01"], "--to goes with --from"),
        (["--from", "yesterday"], "--from: 'yesterday' is no time. Remedy: write ISO 8601"),
        (["--seq", "1", "--rate", "0"], "--rate: 0 runs a second never come"),
        (["--seq", "1", "--trigger", "exit"], "no trigger 'exit'. Remedy: Use start."),
    ],
)
async def test_what_cannot_be_replayed_is_told_with_a_remedy(desk: Desk, words: list[str], said: str) -> None:
    await desk.prepare()
    await desk.publish()
    ran = await desk.run("replay", DAG, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert carried(desk) == []


async def test_a_billion_sequences_are_asked_for_as_fast_as_two(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    assert (await desk.run("replay", DAG, "--seq", "1-999999999999")).code == 0
    assert carried(desk) == [("start", (1,))]


async def test_a_dag_that_airflow_does_not_have_and_a_workflow_that_streams_are_told(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    desk.airflow.dags.clear()
    ran = await desk.run("replay", DAG, "--seq", "1")
    assert ran.code == 2
    assert f"has no DAG {DAG} (yet). Remedy: see that its bundle reads this KRT file" in ran.err
    desk.write(krt(kind="serving"))
    assert "shop.train streams" in (await desk.run("replay", DAG, "--seq", "1")).err


async def test_an_interrupted_replay_ends_the_run_it_has_begun_and_tells_how_to_go_on(desk: Desk) -> None:
    await desk.prepare()
    for n in range(1, 6):
        await desk.publish(n)
    desk.airflow.gate.clear()
    replays = await desk.start("replay", DAG, "--seq", "1-2,4-5")
    async with asyncio.timeout(20):
        await desk.airflow.asked.wait()
    replays.process.send_signal(signal.SIGINT)
    desk.airflow.gate.set()
    ran = await replays.ended()
    assert ran.code == 130, ran.err
    done = [sequences for _, sequences in carried(desk)]
    rest = ran.err.partition("--seq ")[2].strip()
    assert [n for one in done for n in one] + list(ranges.from_text(rest)) == [1, 2, 4, 5]
    assert len(done) < 4
    assert (await desk.run("replay", DAG, "--seq", rest)).code == 0
    assert [sequences for _, sequences in carried(desk)] == [(1,), (2,), (4,), (5,)]


async def test_an_airflow_that_is_away_for_a_moment_costs_no_run_and_makes_none_twice(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    await desk.publish()
    desk.airflow.answers, desk.airflow.keeps = [503, 503], True
    ran = await desk.run("replay", DAG, "--seq", "1-2")
    assert ran.code == 0, ran.err
    assert carried(desk) == [("start", (1,)), ("start", (2,))]


async def test_a_refusal_of_airflows_ends_it_and_tells_how_to_go_on(desk: Desk) -> None:
    await desk.prepare()
    for _ in range(3):
        await desk.publish()
    desk.airflow.answers = [200, 422]
    ran = await desk.run("replay", DAG, "--seq", "1-3")
    assert ran.code == 2
    assert "1 of 3 run(s) done. The rest: --seq 2-3\n" in ran.err
    assert "422" in ran.err
    assert "all the same" not in ran.err


async def test_a_paused_dag_is_waited_for(desk: Desk) -> None:
    await desk.prepare()
    await desk.publish()
    desk.airflow.dags[DAG]["is_paused"] = True
    replays = await desk.start("replay", DAG, "--seq", "1")
    await replays.says(f"messages for {DAG} wait: it is paused")
    assert carried(desk) == []
    desk.airflow.dags[DAG]["is_paused"] = False
    assert (await replays.ended()).code == 0
    assert carried(desk) == [("start", (1,))]


async def test_not_more_runs_a_second_are_started_than_wanted(desk: Desk) -> None:
    await desk.prepare()
    for _ in range(3):
        await desk.publish()
    assert (await desk.run("replay", DAG, "--seq", "1-3", "--rate", "4")).code == 0
    due = [datetime.fromisoformat(run["run_after"]) for run in desk.airflow.of(DAG).values()]
    assert min(later - earlier for earlier, later in pairwise(due)) > timedelta(seconds=0.2)
