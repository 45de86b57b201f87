"""``kai-airflow prune``: what is left in NATS of versions that no KRT names any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from nats.js.api import ConsumerConfig

from kai_airflow.bridge.client import reaching
from kai_airflow.bridge.runs.replies import PART
from kai_airflow.bridge.site import AirflowSite, Settings
from kai_airflow.bridge.workflow import Workbench, prepare
from kai_airflow.bridge.workflow import _source as make_consumers
from kai_airflow.messaging.consumers import ensure_inputs, listed
from tests.cli.conftest import STREAM, krt, process

if TYPE_CHECKING:
    from kai_airflow.plan import Workflow
    from tests.cli.conftest import Desk

STORING = process("store", "task", "start", more=", objectStore: {name: files, scope: workflow}")
SHARING = process("share", "task", "start", more=", objectStore: {name: shared, scope: product}")
OTHERS = ("KV_key-store_somebody", "OBJ_somebody_v1_0_0_files", "ORDERS", "RUNS_somebody_work", "shop_v9_9_9_train")


async def bridged(desk: Desk, dag_id: str) -> Workflow:
    """All that a bridge makes for a workflow."""
    workflow = desk.workflow(dag_id)
    async with reaching(AirflowSite("http://127.0.0.1:1", "", "")) as airflow:
        moment = await prepare(Workbench(desk.connection, airflow, Settings()), workflow)
    for trigger in workflow.triggers if workflow.mode == "batch" else ():
        await make_consumers(desk.connection, workflow.live_stream, moment, trigger)
    return workflow


async def streams(desk: Desk) -> set[str]:
    return {str(info.config.name) for info in await desk.connection.js.streams_info()}


async def left_over(desk: Desk, *words: str) -> dict[str, str]:
    """What is found, by name, and why it stays."""
    ran = await desk.run("prune", "--dry-run", "--json", *words)
    assert ran.code == 0, ran.err
    return {said["name"]: said["spared"] for said in map(json.loads, ran.out.splitlines())}


@pytest.fixture(autouse=True)
async def _others(desk: Desk) -> None:
    """What others keep in the same NATS; the last is a live stream of KAI's own."""
    for name in OTHERS:
        await desk.connection.js.add_stream(name=name, subjects=[f"{name}.>"])


async def test_nothing_is_left_over_of_what_a_krt_names(desk: Desk) -> None:
    desk.write(krt(STORING, SHARING))
    await bridged(desk, "shop.train")
    before = await streams(desk)
    assert {STREAM, "OBJ_shop_v1_0_0_train_files", "OBJ_shop_v1_0_0_shared", "KV_key-store_shop"} < before
    ran = await desk.run("prune", "--yes")
    assert (ran.code, ran.out, ran.err) == (0, "", "0 to remove, 0 stay\n")
    assert await streams(desk) == before


async def test_a_product_that_is_gone_goes_with_all_that_was_its_own_and_nothing_else(desk: Desk) -> None:
    await bridged(desk, "shop.train")
    before = await streams(desk)
    desk.write(krt(STORING, SHARING), product="shops")
    await bridged(desk, "shops.train")
    (desk.dags / "shops" / "krt.yaml").unlink()
    going = await streams(desk) - before
    assert await left_over(desk) == dict.fromkeys(going, "")
    ran = await desk.run("prune", "--yes")
    assert ran.code == 0, ran.err
    assert ran.err == f"{len(going)} removed\n"
    assert await streams(desk) == before


async def test_a_stream_stays_while_runs_of_its_messages_havent_ended(desk: Desk) -> None:
    """Their tasks read the messages when they begin."""
    await bridged(desk, "shop.train")
    desk.write(krt().replace("v1.0.0", "v1.1.0"))
    await bridged(desk, "shop.train")
    run_id = "kai__20260102T030405123456Z__1"
    for state in ("queued", "running"):
        desk.airflow.add_run("shop.train", run_id, {"stream": STREAM})
        desk.airflow.runs["shop.train", run_id]["state"] = state
        assert (await left_over(desk))[STREAM] == "1 run(s) that carry its messages haven't ended"
    desk.airflow.runs["shop.train", run_id]["state"] = "failed"
    assert (await left_over(desk))[STREAM] == ""


async def test_of_a_version_that_is_gone_what_versions_share_stays(desk: Desk) -> None:
    desk.write(krt(STORING))
    await bridged(desk, "shop.train")
    desk.write(krt(STORING, version="v1.1.0"))
    await bridged(desk, "shop.train")
    assert (await desk.run("prune", "--yes")).code == 0
    kept = await streams(desk)
    assert not {name for name in kept if "v1_0_0" in name} - set(OTHERS)
    assert {"shop_v1_1_0_train", "RUNS_shop_train", "KV_key-store_shop", "KV_key-store_shop_v1_1_0_train"} < kept
    assert set(OTHERS) < kept


async def test_a_workflow_that_is_gone_leaves_its_versions_own_alone(desk: Desk) -> None:
    two = krt(STORING, SHARING)
    desk.write(two + two.partition("workflows:\n")[2].replace("name: train", "name: report"))
    await bridged(desk, "shop.train")
    await bridged(desk, "shop.report")
    desk.write(two)
    going = {name for name in await streams(desk) if "report" in name}
    assert len(going) == 8  # live and run stream, an object store, and buckets of the workflow and its processes
    assert set(await left_over(desk)) == going


async def test_messages_that_became_no_run_yet_keep_all_of_it_until_it_is_forced(desk: Desk) -> None:
    await bridged(desk, "shop.train")
    await desk.publish()
    desk.write(krt(version="v1.1.0"))
    await bridged(desk, "shop.train")
    assert await left_over(desk) == {STREAM: "1 message(s) wait to become runs"}
    before = await streams(desk)
    ran = await desk.run("prune", "--yes")
    assert (ran.code, ran.err) == (0, "0 to remove, 1 stay\n")
    assert f"stays: 1 message(s) wait to become runs; --force {STREAM}" in ran.out
    assert await streams(desk) == before
    assert (await desk.run("prune", "--yes", "--force", STREAM)).code == 0
    assert not {name for name in await streams(desk) if "v1_0_0" in name} - set(OTHERS)


async def test_messages_that_no_bridge_has_taken_up_keep_it_and_replies_do_not(desk: Desk) -> None:
    workflow = await bridged(desk, "shop.train")
    desk.write(krt(version="v1.1.0"))
    await desk.connection.js.publish(f"{STREAM}.exit", b"", headers={PART: "kai__x__1 0"})
    assert await left_over(desk) == dict.fromkeys(await left_over(desk), "")
    for info in await desk.connection.js.consumers_info(workflow.live_stream):
        await desk.connection.js.delete_consumer(STREAM, info.name)
    await desk.publish()
    assert await left_over(desk) == {STREAM: "1 message(s) that no bridge has ever taken up"}


async def test_what_a_bridge_of_other_krt_files_serves_stays(desk: Desk) -> None:
    desk.write(krt(), product="theirs")
    await bridged(desk, "theirs.train")
    (desk.dags / "theirs" / "krt.yaml").unlink()
    stream = "theirs_v1_0_0_train"
    (name,) = [one.name for one in await desk.connection.js.consumers_info(stream) if "messages" in one.name]
    inbox = desk.connection.nc.new_inbox()
    await desk.connection.nc.subscribe(inbox)
    await desk.connection.nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", b'{"batch": 1}', reply=inbox)
    await desk.connection.nc.flush()
    assert await left_over(desk) == {stream: "a bridge of other KRT files serves it"}


async def test_a_run_stream_that_a_task_works_with_keeps_all_of_it(desk: Desk) -> None:
    desk.write(krt(), product="gone")
    workflow = await bridged(desk, "gone.train")
    (desk.dags / "gone" / "krt.yaml").unlink()
    await desk.connection.js.add_consumer(workflow.run_stream, ConsumerConfig(durable_name="a-try"))
    await desk.connection.js.publish(f"{workflow.run_stream}.in.a-try", b"")
    assert await left_over(desk) == {workflow.live_stream: f"a task still works with {workflow.run_stream}"}
    forced = await left_over(desk, "--force", workflow.live_stream)
    assert {name: spared for name, spared in forced.items() if spared} == {
        workflow.run_stream: "a task still works with it"
    }


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
async def test_without_a_yes_nothing_goes(desk: Desk, words: list[str]) -> None:
    desk.write(krt(), product="gone")
    await bridged(desk, "gone.train")
    (desk.dags / "gone" / "krt.yaml").unlink()
    before = await streams(desk)
    ran = await desk.run("prune", *words)
    assert "gone_v1_0_0_train" in ran.out
    assert ran.code == (0 if words else 2)
    assert words or "for good, with all messages in them? Nobody can be asked here. Remedy: say --yes." in ran.err
    assert await streams(desk) == before


async def test_while_a_krt_has_errors_or_none_is_there_nothing_is_left_over(desk: Desk) -> None:
    await bridged(desk, "shop.train")
    before = await streams(desk)
    desk.write("version: [")
    ran = await desk.run("prune", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "krt.yaml has errors: what it names isn't known. Remedy: kai-airflow validate " in ran.err
    (desk.dags / "shop" / "krt.yaml").unlink()
    ran = await desk.run("prune", "--yes")
    assert ran.code == 2
    assert "everything would be left over. Remedy: name their folder with --dags." in ran.err
    assert await streams(desk) == before


async def test_only_what_is_left_over_can_be_forced(desk: Desk) -> None:
    await bridged(desk, "shop.train")
    ran = await desk.run("prune", "--yes", "--force", STREAM)
    assert ran.code == 2
    assert f"--force: no stream '{STREAM}' is left over. Remedy: Leave it out." in ran.err
    assert STREAM in await streams(desk)


def streaming(*processes: str) -> str:
    return krt(*processes).replace("type: training", "type: serving")


async def test_consumers_of_a_process_that_is_gone_from_a_streaming_workflow_go_when_nobody_listens(desk: Desk) -> None:
    gone, kept = process("gone", "task", "start"), process("kept", "task", "start")
    desk.write(streaming(gone, kept))
    workflow = await bridged(desk, "shop.train")
    for one in workflow.processes:
        await ensure_inputs(desk.connection, workflow.live_stream, one)
    assert await left_over(desk) == {}
    desk.write(streaming(kept))
    consumer = f"{STREAM}-start-gone"
    listening = await desk.connection.nc.subscribe(f"_INBOX.{consumer}", queue=consumer)
    assert await left_over(desk) == {}
    await listening.unsubscribe()
    assert await left_over(desk) == {consumer: ""}
    ran = await desk.run("prune", "--yes")
    assert (ran.code, ran.err) == (0, "1 removed\n")
    left = {info.name for info in await listed(desk.connection, STREAM)}
    assert consumer not in left
    assert f"{STREAM}-start-kept" in left


async def test_a_live_stream_stays_while_its_processes_have_something_in_hand(desk: Desk) -> None:
    desk.write(streaming(process("work", "task", "start")), product="shops")
    workflow = await bridged(desk, "shops.train")
    for one in workflow.processes:
        await ensure_inputs(desk.connection, workflow.live_stream, one)
    await desk.connection.js.publish(f"{workflow.live_stream}.start", b"")
    (desk.dags / "shops" / "krt.yaml").unlink()
    assert "wait for a process" in (await left_over(desk))[workflow.live_stream]
    inputs = [info.name for info in await listed(desk.connection, workflow.live_stream)]
    listening = [await desk.connection.nc.subscribe(f"_INBOX.{name}", queue=name) for name in inputs]
    for subscription in listening:
        await (await subscription.next_msg(20)).ack_sync()
    assert (await left_over(desk))[workflow.live_stream] == "a process listens there"
    for subscription in listening:
        await subscription.unsubscribe()
    assert (await left_over(desk))[workflow.live_stream] == ""
