"""The trigger's task of a streaming workflow: a real nats-server, and real processes that live beside the runs."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from kai_airflow.bridge.live.nats_side import LiveNats
from kai_airflow.messaging import asking
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import JetStreamError
from kai_airflow.operators import live_trigger
from kai_airflow.operators.live_trigger import NobodyListensError
from tests.conftest import LiveWorkflow
from tests.operators.live_runs import (
    STREAMING,
    Lines,
    Run,
    counts,
    done,
    lines,
    prepared,
    ready,
    said_by,
    site,
)
from tests.streaming import consumer_of, process_of, started, streaming

if TYPE_CHECKING:
    from tests.conftest import StartNats

__all__ = ["lines", "ready", "site"]  # fixtures


async def test_the_request_of_a_schedule_and_of_a_backfill_is_that_of_a_batch_run(ready: LiveWorkflow) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    run = Run(run_type="backfill", logical_date=moment, data_interval_start=moment, data_interval_end=moment)
    (asked,) = await said_by(ready, await done(run, "trigger"))
    assert asked == dict.fromkeys(("data_interval_start", "data_interval_end", "logical_date"), moment.isoformat())


@pytest.mark.parametrize(
    ("conf", "match"),
    [
        ({"x": 1}, "unknown key 'x'.*Remedy"),
        ({"trigger": "other"}, "no trigger 'other'.*Remedy"),
        ({"payload": float("nan")}, "conf.payload"),
        ({"payload": "x" * (2 << 20), "request_id": "big"}, None),
        (
            {"trigger": "trigger", "stream": "s", "created": "c", "sequences": "1", "published": "1"},
            "conf.sequences.*Remedy",
        ),
    ],
)
async def test_what_a_conf_asks_for_and_cant_be_done_fails_for_good(
    ready: LiveWorkflow, conf: dict[str, Any], match: str | None
) -> None:
    if match is None:
        assert (await done(Run(conf), "trigger")).good == 1  # it is gzipped
        return
    with pytest.raises(AirflowFailException, match=match):
        await done(Run(conf), "trigger")


async def test_a_try_that_died_after_sending_has_sent_it_once(
    ready: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the server has forgotten the message's id."""
    config = (await ready.connection.js.stream_info(ready.stream)).config
    config.duplicate_window = 0.1
    await ready.connection.js.update_stream(config)
    run = Run()
    send = asking.send

    async def dies(*arguments: Any) -> int:
        await send(*arguments)
        raise EOFError

    monkeypatch.setattr(live_trigger, "send", dies)
    with pytest.raises(EOFError):
        await done(run, "trigger")
    monkeypatch.setattr(live_trigger, "send", send)
    for n in range(5):
        await ready.send("trigger", n, f"other-{n}")
    await asyncio.sleep(0.3)
    sent = await done(run, "trigger")
    assert sent.sequences == [1]
    assert (await ready.connection.js.stream_info(ready.stream)).state.messages == 6


async def test_two_tries_at_the_same_time_send_it_once(ready: LiveWorkflow) -> None:
    """The first was taken for dead, and isn't."""
    run = Run()
    first, second = await asyncio.gather(done(run, "trigger"), done(run, "trigger"))
    assert first.sequences == second.sequences
    assert (await ready.connection.js.stream_info(ready.stream)).state.messages == 1


async def test_a_cleared_run_repeats_its_request_and_reads_what_came_after_it(ready: LiveWorkflow) -> None:
    await started(ready)
    run = Run({"payload": 1})
    first = await done(run, "trigger"), await done(run, "worker")
    run.clear_number = 1
    second = await done(run, "trigger"), await done(run, "worker")
    assert [one.sequences for one in second] > [one.sequences for one in first]
    assert (second[1].fed, counts(second[1])) == (1, {"": 1})
    raw = [await ready.connection.js.get_msg(ready.stream, one.sequences[0]) for one in (first[0], second[0])]
    assert raw[0].data == raw[1].data


async def test_nothing_is_sent_before_all_consumers_are_there(live: LiveWorkflow, lines: Lines) -> None:
    waiting = asyncio.create_task(done(Run(), "trigger"))
    assert "Is `kai-airflow bridge` running?" in await lines.said(consumer_of(STREAMING, "out"))
    await LiveNats(live.connection).prepare(STREAMING, process_of(STREAMING, "worker"))
    assert (await live.connection.js.stream_info(live.stream)).state.messages == 0
    await LiveNats(live.connection).prepare(STREAMING, process_of(STREAMING, "out"))
    assert (await waiting).sequences == [1]


async def test_consumers_that_never_come_are_told_with_what_to_do(live: LiveWorkflow) -> None:
    workflow = streaming()
    trigger = process_of(workflow, "trigger")
    object.__setattr__(trigger, "start_timeout", 0.1)
    with pytest.raises(NobodyListensError, match=r"start_timeout.*trigger-worker.*Remedy: .*kai-airflow bridge"):
        await done(Run(), "trigger", workflow)


async def test_a_full_stream_is_told_with_what_to_do(ready: LiveWorkflow) -> None:
    config = (await ready.connection.js.stream_info(ready.stream)).config
    config.max_msgs = 1
    await ready.connection.js.update_stream(config)
    await ready.send("trigger", 1, "r")
    with pytest.raises(JetStreamError, match="Remedy: raise the stream's limit"):
        await done(Run(), "trigger")


async def test_the_documented_rights_are_enough(
    start_nats: StartNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights = json.loads(documented_rights().replace("reviews_v1_0_0_serve", "shop_v1_0_0_train"))
    users = [{"user": "all", "password": "all"}, {"user": "task", "password": "task", "permissions": rights}]
    server = start_nats(f"authorization {{ users: {json.dumps(users)} }}")
    everything = f"nats://all:all@127.0.0.1:{server.port}"
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", f"nats://task:task@127.0.0.1:{server.port}")
    async with connect(everything, name="test") as connection:
        live = await prepared(LiveWorkflow(connection, everything, tmp_path), STREAMING)
        worker = await started(live)
        run = Run({"payload": {"do": "wait"}})
        await done(run, "trigger")
        run.stores["trigger"]["kai_airflow_sent"]["after"] = 0
        await done(run, "trigger")  # looks for it
        waiting = asyncio.create_task(done(run, "worker"))
        await worker.said("busy")
        worker.signal(signal.SIGUSR1)
        assert (await waiting).good == 1
        await worker.kill()
    assert not [line for line in server.output if "Violation" in line]


def documented_rights() -> str:
    page = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text()
    return page.partition("What tasks of a streaming workflow use")[2].partition("```json")[2].partition("```")[0]
