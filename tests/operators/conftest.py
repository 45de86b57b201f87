"""A local Kubernetes API, and one try of a process on it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_asyncio import client, config
from kubernetes_asyncio.client import CoreV1Api

from kai_airflow.messaging import codec
from kai_airflow.messaging.drain import Drain, draining
from kai_airflow.messaging.feed import Share, feed, open_input
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Source, Try
from kai_airflow.operators.pods import KubeError, Pods
from kai_airflow.operators.supervisor import Supervisor
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kai_airflow.messaging.connection import Connection

STREAM = names.run_stream("shop", "train")

# How an SDK process behaves, in few lines: bind, and for each message print, publish, ack. SETTINGS come as JSON.
PROCESS = """
import asyncio, json, os, signal, sys
import nats
from nats.js.api import ConsumerConfig, DeliverPolicy

settings = json.loads(os.environ["SETTINGS"])

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    js = (nc := await nats.connect(settings["url"])).jetstream()

    async def handle(message):
        print("got", message.metadata.sequence.consumer, flush=True)
        if message.metadata.sequence.consumer == settings.get("exit_at"):
            os._exit(settings["exit_code"])
        await js.publish(settings["output"], message.data)
        await message.ack()

    await js.subscribe(settings["input"], queue=settings["consumer"], durable=settings["consumer"], cb=handle,
                       manual_ack=True, config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW, ack_wait=79200))
    while not stopped.is_set() and "heartbeat" in settings:
        await asyncio.sleep(settings["heartbeat"])
        await js.publish(settings["output"], b"")
    await stopped.wait()
    print(settings.get("last_words", "told to end"), flush=True)
    await nc.close()

asyncio.run(main())
"""


@dataclass
class Kubernetes:
    """The local API, as a process of its own."""

    home: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        images = {"python": [sys.executable, "-u", "-c"], "sh": ["sh", "-c"]}
        (self.home / "images.yaml").write_text(yaml.safe_dump(images))
        words = ["--home", str(self.home), "--images", str(self.home / "images.yaml")]
        self.process = subprocess.Popen([sys.executable, "-m", "kai_airflow.local.kubernetes", *words])
        deadline = time.monotonic() + 20
        while not (self.home / "kubeconfig").exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Kubernetes]:
    running = Kubernetes(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def api(kubernetes: Kubernetes) -> AsyncIterator[CoreV1Api]:
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubernetes.home / "kubeconfig"), client_configuration=configuration)
    async with client.ApiClient(configuration) as api_client:
        yield CoreV1Api(api_client)


@dataclass
class Trial:
    """One try that was fed its share; ``lines`` and ``notes`` are what it said."""

    connection: Connection
    pods: Pods
    share: Share
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def of(self) -> Try:
        return self.share.of

    def process(self, **settings: Any) -> dict[str, Any]:
        return self.pod("python", PROCESS, **settings)

    def pod(self, image: str, code: str, **settings: Any) -> dict[str, Any]:
        url = self.connection.nc.connected_url
        assert url is not None
        known = {"url": url.geturl(), "output": self.of.output, "input": self.of.input, "consumer": self.of.consumer}
        environment = [{"name": "SETTINGS", "value": json.dumps({**known, **settings})}]
        container = {"name": "process", "image": image, "args": [code], "env": environment}
        return {
            "metadata": {"name": f"p-{self.of.id}", "namespace": "default"},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container]},
        }

    @asynccontextmanager
    async def supervised(
        self, pod: dict[str, Any], start_timeout: float = 60
    ) -> AsyncIterator[tuple[Supervisor, Drain]]:
        async with draining(self.connection, self.share, self.connection.server_id) as drain:
            reference = await self.pods.create(pod)
            supervisor = Supervisor(
                drain, self.pods, reference, start_timeout, say=self.lines.append, note=self.notes.append
            )
            async with supervisor.reading():
                yield supervisor, drain
                with suppress(KubeError):  # a test may have ended the API
                    await self.pods.delete(reference)


@pytest.fixture
async def trial(connection: Connection, api: CoreV1Api) -> Trial:
    """A try that was fed three messages, before its pod exists."""
    await ensure_run_stream(connection.js, STREAM)
    upstream, of = (Try(STREAM, str(uuid.uuid4()), process) for process in ("trigger", "splitter"))
    wanted = []
    for n in range(3):
        data = codec.encode(codec.Message(f"request-{n}", codec.pack(n)), 1 << 20)
        wanted.append(Source((await connection.js.publish(upstream.output, data)).seq, upstream.output))
    await open_input(connection, of)
    (share,) = await feed(connection, [of], wanted)
    return Trial(connection, Pods(api), share)
