"""Processes that run and don't listen: on the local Kubernetes API, with real processes and a real nats-server."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest
import yaml

from kai_airflow.bridge.cluster.client import DEPLOYMENTS, LEASES, PODS
from kai_airflow.bridge.live import deaf, keeping
from kai_airflow.bridge.live.deaf import Deaf
from kai_airflow.bridge.live.handover import Place, Wanted
from kai_airflow.bridge.live.nats_side import LiveNats
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.live import lease_name
from kai_airflow.kube.restarts import HELPED, RESTARTED, Restart
from tests.bridge.clusters import NAMESPACE, there, until
from tests.bridge.keeping import Kept, Recorder, krt_text
from tests.streaming import consumer_of, process_of, streaming

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow
    from tests.bridge.airflow_stub import AirflowStub
    from tests.bridge.clusters import LocalKubernetes
    from tests.conftest import NatsServer

# As KAI's SDKs: it tries to reconnect some times, and lives on when it has given up.
GIVES_UP = """
import asyncio, os, pathlib, nats, yaml

async def main():
    folder = pathlib.Path(os.environ["KAI_APP_CONFIG_PATH"])
    app = yaml.safe_load((folder / "app.yaml").read_text())

    async def closed():
        print("given up")

    async def take(message):
        await message.ack()

    nc = await nats.connect(app["nats"]["url"], max_reconnect_attempts=1, reconnect_time_wait=0.1, closed_cb=closed)
    consumer = app["nats"]["inputs"][0].replace(".", "-") + "-" + app["metadata"]["process_name"]
    await nc.subscribe("_INBOX." + consumer, queue=consumer, cb=take)
    await asyncio.Event().wait()

asyncio.run(main())
"""
WORK, OUT = "shop-v1-0-0-train-work", "shop-v1-0-0-train-out"
STREAM = "shop_v1_0_0_train"
HEARD = f"{STREAM}-rest-work"


@pytest.fixture
def kept(
    tmp_path: Path,
    stub: AirflowStub,
    airflow: Airflow,
    local: LocalKubernetes,
    objects: Kubernetes,
    connection: Connection,
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    """A product of which only the image of the task and the exit is of interest."""
    monkeypatch.setattr(keeping, "POLL", 0.1)
    monkeypatch.setattr(keeping, "SHARE", 0)
    monkeypatch.setattr(deaf, "LOOK", 0.2)
    monkeypatch.setattr(deaf, "UNHEARD", 4.0)
    made = Kept(tmp_path, stub, airflow, local, objects, LiveNats(connection), url=nats_server.url)
    images = {"gives-up": [sys.executable, "-u", "-c", GIVES_UP], "lives": ["sleep", "3600"]}
    (local.home / "images.yaml").write_text(yaml.safe_dump(images))
    return made


def text(task: str) -> str:
    return krt_text(trigger="lives", task=task, exit_="gives-up")


async def is_heard(connection: Connection, consumer: str = HEARD) -> bool:
    return bool((await connection.js.consumer_info(STREAM, consumer)).push_bound)


async def restarted(kept: Kept, name: str = WORK) -> str:
    return Restart.of(await there(kept.objects, DEPLOYMENTS, name)).asked


async def pods_of(kept: Kept, name: str = WORK) -> set[str]:
    return {pod for pod in await kept.names(PODS) if pod.startswith(name)}


async def told_of(kept: Kept, name: str = WORK) -> str:
    lease = await there(kept.objects, LEASES, lease_name(kept.label))
    return keeping.troubles(lease).get(f"{NAMESPACE}/{name}", "")


async def test_who_gave_up_on_nats_is_started_anew_and_goes_on(
    kept: Kept, connection: Connection, nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    kept.write(text("gives-up"))
    async with kept.going_on():
        await kept.until_ready(DEPLOYMENTS, WORK)
        await until(lambda: is_heard(connection))
        before = await pods_of(kept)
        (pod,) = before
        mended = connection.breaks.mended
        nats_server.kill()

        async def has_given_up() -> bool:
            log = await kept.objects.log(NAMESPACE, pod, "process", previous=False, lines=1, most=99)
            return "given up" in log

        await until(has_given_up)
        nats_server.start()
        await mended.wait()
        assert not await is_heard(connection)
        await connection.js.publish(f"{STREAM}.rest", b"")
        await until(lambda: is_heard(connection))

        async def is_done() -> bool:
            info = await connection.js.consumer_info(STREAM, HEARD)
            return not info.num_pending and not info.num_ack_pending

        await until(is_done)

        async def has_helped() -> bool:
            return Restart.of(await there(kept.objects, DEPLOYMENTS, WORK)).has_helped

        await until(has_helped)
        await kept.until_ready(DEPLOYMENTS, WORK)
        after, asked = await pods_of(kept), await restarted(kept)
        assert not after & before
    assert f"{NAMESPACE}/{WORK}: nobody listens on consumer {HEARD} of stream {STREAM}" in caplog.text
    # The next bridge leaves it as it is, also where it has to apply it.
    async with kept.going_on():
        found = await there(kept.objects, DEPLOYMENTS, WORK)
        found["spec"]["replicas"] = 0
        await kept.objects.replace(DEPLOYMENTS, NAMESPACE, found)
        await kept.until_ready(DEPLOYMENTS, WORK)
        found = await there(kept.objects, DEPLOYMENTS, WORK)
        assert found["spec"]["template"]["metadata"]["annotations"][RESTARTED] == asked
        assert found["metadata"]["annotations"][HELPED] == asked


async def test_what_speaks_no_nats_is_started_anew_once_and_then_told(
    kept: Kept, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaf, "UNHEARD", 1.0)
    monkeypatch.setattr(deaf, "REST", timedelta(0))
    kept.write(text("lives"))
    async with kept.going_on():
        await until(lambda: told_of(kept))
        asked, pods = await restarted(kept), await pods_of(kept)
        told = await told_of(kept)
        assert f"nobody listens on consumer {HEARD} of stream {STREAM} though its pods run" in told
        assert "Remedy: " in told
        assert not await restarted(kept, OUT)  # its neighbour does listen
    async with kept.going_on():  # another bridge doesn't begin again
        assert await until(lambda: told_of(kept))
        await asyncio.sleep(2 * deaf.UNHEARD)
        assert (await restarted(kept), await pods_of(kept)) == (asked, pods)
        # Another image listens: it is told no more, and would be started anew again.
        kept.write(text("gives-up"))

        async def is_well() -> bool:
            return not await told_of(kept) and Restart.of(await there(kept.objects, DEPLOYMENTS, WORK)).has_helped

        await until(is_well)


# When.

WORKFLOW = streaming()
CONSUMER = consumer_of(WORKFLOW, "worker")
PLACE = Place("default", "w")
STATUS = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
WAIT = 0.05


def wanted(workflow: Workflow = WORKFLOW) -> dict[Place, Wanted]:
    return {PLACE: Wanted(workflow, process_of(workflow, "worker"))}


def deployment(restart: Restart | None = None, **status: int) -> dict[Place, Manifest]:
    made: Manifest = {"metadata": {"generation": 1}, "spec": {"template": {"metadata": {}}}, "status": STATUS | status}
    return {PLACE: restart.on(made) if restart else made}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Nobody listens, and NATS is well."""
    monkeypatch.setattr(deaf, "UNHEARD", WAIT)
    return Recorder(silent={CONSUMER})


async def changes(looking: Deaf, found: dict[Place, Manifest], what: Mapping[Place, Wanted] | None = None) -> list[int]:
    """How many Deployments each of two looks changes, the wait apart."""
    first = await looking.look(what or wanted(), found)
    await asyncio.sleep(WAIT)
    return [len(first), len(await looking.look(what or wanted(), found))]


async def test_only_who_was_silent_for_a_while_is_started_anew(silent: Recorder) -> None:
    looking = Deaf(silent)
    assert await changes(looking, deployment()) == [0, 1]
    assert looking.restart(PLACE, deployment()[PLACE]).asked
    assert not looking.trouble


async def test_while_nats_was_not_well_silence_does_not_count(silent: Recorder) -> None:
    silent.steadily = WAIT / 2
    assert await changes(Deaf(silent), deployment()) == [0, 0]


async def test_what_is_not_ready_is_not_taken_for_deaf(silent: Recorder) -> None:
    looking = Deaf(silent)
    await looking.look(wanted(), deployment())
    await asyncio.sleep(WAIT)
    assert await changes(looking, deployment(availableReplicas=0)) == [0, 0]
    assert await changes(looking, {}) == [0, 0]
    assert await changes(looking, deployment()) == [0, 1]  # its time began anew


async def test_who_listened_in_between_has_its_time_anew(silent: Recorder) -> None:
    looking = Deaf(silent)
    await looking.look(wanted(), deployment())
    silent.silent.clear()
    assert await changes(looking, deployment()) == [0, 0]
    silent.silent.add(CONSUMER)
    assert await looking.look(wanted(), deployment()) == frozenset()


async def test_a_process_has_the_time_that_its_krt_says(silent: Recorder) -> None:
    slow = streaming(says="{start_timeout: 3600}")
    assert await changes(Deaf(silent), deployment(), wanted(slow)) == [0, 0]


async def test_a_restart_that_has_not_helped_is_the_last_until_somebody_listens(
    silent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaf, "REST", timedelta(0))
    looking, found = Deaf(silent), deployment(Restart.now())
    assert await changes(looking, found) == [0, 0]
    assert f"nobody listens on consumer {CONSUMER} of stream {WORKFLOW.live_stream}" in looking.trouble[PLACE]
    silent.silent.clear()
    assert await changes(looking, found) == [1, 0]  # that it helped is written down, once
    assert not looking.trouble
    silent.silent.add(CONSUMER)
    assert await changes(looking, found) == [0, 1]


async def test_after_a_restart_that_helped_the_next_is_not_at_once(silent: Recorder) -> None:
    assert await changes(Deaf(silent), deployment(Restart.now().helped())) == [0, 0]
    before = (datetime.now(UTC) - deaf.REST).isoformat()
    assert await changes(Deaf(silent), deployment(Restart(before, has_helped=True))) == [0, 1]


async def test_what_is_not_wanted_any_more_is_forgotten(silent: Recorder) -> None:
    looking, found = Deaf(silent), deployment(Restart.now())
    await changes(looking, found)
    await looking.look({}, found)
    looking.forget(PLACE)
    assert not looking.trouble
    assert await changes(looking, deployment()) == [0, 1]


async def test_where_nats_does_not_tell_who_listens_nothing_is_done(
    silent: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looking = Deaf(silent)
    await looking.look(wanted(), deployment())
    await asyncio.sleep(WAIT)
    with monkeypatch.context() as away:
        away.setattr(silent, "unheard", AsyncMock(side_effect=KaiAirflowError("no answer")))
        assert await looking.look(wanted(), deployment()) == frozenset()
    assert caplog.messages == ["nobody can tell which processes listen: no answer"]
    assert await looking.look(wanted(), deployment()) == frozenset()
