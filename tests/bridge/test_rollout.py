"""The whole bridge with real processes on a real nats-server: a product starts, and changes its version under load."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import yaml

from kai_airflow.bridge import service
from kai_airflow.bridge.cluster.client import DEPLOYMENTS, PODS, SECRETS
from kai_airflow.bridge.live import keeper, keeping
from kai_airflow.messaging.codec import Message, decode, encode, pack
from kai_airflow.plan import names
from tests.bridge.clusters import until
from tests.bridge.keeping import LISTENER, Kept, krt_text
from tests.bridge.parts import at_work

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.msg import Msg

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.messaging.connection import Connection
    from tests.bridge.airflow_stub import AirflowStub
    from tests.bridge.clusters import LocalKubernetes
    from tests.conftest import NatsServer

RELAY = """
import asyncio
from kai_airflow.process import Process
process = Process()

@process.on("rest", "work")
async def relay(request):
    await asyncio.sleep(0.005)
    await request.send(request.payload)

process.run()
"""
HANGS = """
import asyncio, pathlib
from kai_airflow.process import Process
process, mark = Process(), pathlib.Path(MARK)

@process.on("rest")
async def relay(request):
    if not mark.exists():
        mark.touch()
        await asyncio.sleep(3600)
    await request.send(request.payload)

process.run()
"""
V1 = {f"shop-v1-0-0-train-{name}" for name in ("rest", "poll", "work", "out")}
V2 = {name.replace("v1", "v2") for name in V1}
OLD = names.live_stream("shop", "v1.0.0", "train")


@pytest.fixture
def kept(
    tmp_path: Path,
    stub: AirflowStub,
    airflow: Airflow,
    local: LocalKubernetes,
    objects: Kubernetes,
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    monkeypatch.setattr(keeper, "GRACE", 2.0)
    monkeypatch.setattr(service, "LOOK", 0.2)
    monkeypatch.setattr(keeping, "POLL", 0.2)
    made = Kept(tmp_path, stub, airflow, local, objects, url=nats_server.url)
    python = [sys.executable, "-u", "-c"]
    images = {"relays": [*python, RELAY], "listens": [*python, LISTENER], "lives": ["sleep", "3600"]}
    (local.home / "images.yaml").write_text(yaml.safe_dump(images))
    return made


def text(version: str) -> str:
    return krt_text(version, task="relays", exit_="relays")


class Callers:
    """Whoever sends requests through the trigger ``rest`` of a version, and hears what comes back."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sent: list[str] = []
        self.answered: Counter[str] = Counter()
        self.news = asyncio.Event()

    async def listen(self) -> None:
        await self.connection.nc.subscribe(f"{OLD}.out", cb=self._hear)
        await self.connection.nc.flush()

    async def _hear(self, message: Msg) -> None:
        self.answered[decode(message.data).request_id] += 1
        self.news.set()

    async def send(self) -> None:
        self.sent.append(f"r{len(self.sent)}")
        message = Message(self.sent[-1], pack(1), from_node="rest")
        await self.connection.js.publish(f"{OLD}.rest", encode(message, 1 << 20))

    async def all_answered(self) -> None:
        async with asyncio.timeout(30):
            while set(self.sent) - self.answered.keys():
                self.news.clear()
                await self.news.wait()


async def test_a_new_version_under_load_loses_nothing_and_old_requests_finish_on_the_old_one(
    kept: Kept, connection: Connection
) -> None:
    kept.stub.dag.is_paused = True
    kept.write(text("v1.0.0"))
    callers = Callers(connection)
    async with at_work(service.run(kept.site)):
        await kept.stub.until(lambda: ("GET", "/api/v2/dags") in kept.stub.asked)
        assert await kept.names(DEPLOYMENTS) == set()
        kept.stub.dag.is_paused = False
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await callers.listen()
        await callers.send()
        await callers.all_answered()
        kept.write(text("v2.0.0"))
        while "shop-v1-0-0-train-rest" in await kept.names(DEPLOYMENTS):
            await callers.send()
        assert len(callers.sent) > 50
        await callers.all_answered()
        for kind in (DEPLOYMENTS, SECRETS):
            await kept.until_names(kind, V2)
        assert set(callers.answered.values()) == {1}
        assert set(callers.answered) == set(callers.sent)


async def test_a_process_that_is_killed_in_the_middle_of_a_request_handles_it_again(
    kept: Kept, connection: Connection
) -> None:
    """By a pod in its place, within seconds; the consumer's ack wait is 22 hours."""
    images = yaml.safe_load((kept.local.home / "images.yaml").read_text())
    images["hangs"] = [*images["relays"][:-1], HANGS.replace("MARK", repr(str(kept.local.home / "mark")))]
    (kept.local.home / "images.yaml").write_text(yaml.safe_dump(images))
    kept.write(text("v1.0.0").replace("image: relays", "image: hangs", 1))
    callers = Callers(connection)
    async with at_work(service.run(kept.site)):
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await callers.listen()

        async def listens() -> bool:
            info = await connection.js.consumer_info(OLD, names.consumer(names.input_subject(OLD, "rest"), "work"))
            return bool(info.push_bound)

        await until(listens)
        await callers.send()

        async def is_in_hand() -> bool:
            return (kept.local.home / "mark").exists()

        await until(is_in_hand)
        (pod,) = [one for one in await kept.names(PODS) if one.startswith("shop-v1-0-0-train-work")]
        found = await kept.objects.get(PODS, "default", pod)
        assert found is not None
        await kept.objects.delete(PODS, found)
        await callers.all_answered()
        assert callers.answered == {"r0": 1}
