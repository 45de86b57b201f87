"""Long-lived processes on the local Kubernetes API: programs of the helper for processes, and an HTTP trigger."""

from __future__ import annotations

import asyncio
import math
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from kai_airflow.bridge.live.keeping import Keeping
from kai_airflow.bridge.site import Site
from kai_airflow.bridge.survey import Survey
from kai_airflow.kube import live
from kai_airflow.kube.found import is_ready
from kai_airflow.messaging.address import NatsAddress
from tests.bridge.clusters import NAMESPACE, until
from tests.bridge.parts import at_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.bridge.live.nats_protocol import LiveNats
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Stream
    from tests.bridge.airflow_stub import AirflowStub
    from tests.bridge.clusters import LocalKubernetes

LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"
LISTENER = """
import http.server, os
port = int(next(value for name, value in os.environ.items() if name.startswith("KAI_AIRFLOW_PORT_")))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["ANSWER"].encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def images() -> dict[str, list[str]]:
    """What the images of tests are: one only lives, one listens, one won't end, one ends at once."""
    python = [sys.executable, "-u", "-c"]
    return {
        "lives": ["sleep", "3600"],
        "listens": [*python, LISTENER],
        "deaf": ["sleep", "3600"],
        "stubborn": [*python, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); signal.pause()"],
        "ends": ["sh", "-c", "echo first; echo the password: hunter2; echo last words; exit 3"],
    }


def krt_text(
    version: str = "v1.0.0",
    *,
    trigger: str = "listens",
    task: str = "lives",
    exit_: str = "lives",
    networking: str = "",
    config: str = "",
    replicas: int = 1,
    more: str = "",
) -> str:
    """A trigger, a task and an exit that stream."""
    config = f"config: {{{config}}}, " if config else ""
    net = f"networking: {{targetPort: 9000, destinationPort: 80{networking}}}, "
    pod = '{spec: {containers: [{name: process, env: [{name: ANSWER, value: "' + version + '"}]}]}}'
    return f"""version: {version}
description: text
{more}
workflows:
  - name: train
    type: serving
    processes:
      - {{name: rest, type: trigger, image: {trigger}, {net}subscriptions: [out], {LIMITS}, x-airflow: {{pod: {pod}}}}}
      - {{name: poll, type: trigger, image: lives, {LIMITS}}}
      - {{name: work, type: task, image: {task}, replicas: {replicas}, subscriptions: [rest], {config}{LIMITS}}}
      - {{name: out, type: exit, image: {exit_}, subscriptions: [work], {LIMITS}}}
"""


@dataclass
class Recorder:
    """In the place of the NATS side: what it was asked. ``busy``: streams that have something to do; ``silent``:
    consumers on which nobody listens."""

    prepared: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    steadily: float = math.inf
    broken: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, workflow: Workflow, process: Process) -> None:  # noqa: ARG002 - the protocol's
        assert process.live
        self.prepared.append(process.live.deployment)

    async def gone(self, labels: Mapping[str, str], process: str) -> None:
        assert labels["process"] == process
        self.ended.append(process)

    async def idle(self, stream: Stream) -> bool:
        return stream not in self.busy

    async def unheard(self, stream: Stream) -> set[str]:
        return {one for one in self.silent if one.startswith(stream)}

    def steady(self) -> float:
        return self.steadily

    async def lost(self) -> None:
        await self.broken.wait()
        self.broken.clear()

    async def strayed(self, labels: Mapping[str, str], process: str) -> None:
        assert labels["process"] == process
        self.strays.append(process)


@dataclass
class Kept:
    """A folder of KRT files, and bridges that keep what they say."""

    folder: Path
    stub: AirflowStub
    airflow: Airflow
    local: LocalKubernetes
    objects: Kubernetes
    nats: Any = field(default_factory=Recorder)
    url: str = "nats://127.0.0.1:4222"
    services: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.local.home / "images.yaml").write_text(yaml.safe_dump(images()))
        self.file.parent.mkdir()

    @property
    def file(self) -> Path:
        return self.folder / "shop" / "krt.yaml"

    @property
    def site(self) -> Site:
        cluster = self.local.cluster
        return Site((self.folder,), NatsAddress(self.url), self.stub.site, cluster=cluster, services=self.services)

    @property
    def label(self) -> str:
        return live.site_label(self.stub.url)

    def write(self, text: str) -> None:
        draft = self.folder / "draft"
        draft.write_text(text)
        draft.rename(self.file)

    def keeping(self, nats: LiveNats | None = None) -> Keeping:
        survey = Survey((self.folder,))
        return Keeping(self.site, self.airflow, nats or self.nats, survey.look)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[asyncio.Task[None]]:
        async with at_work(self.keeping().work()) as (task,):
            yield task

    async def names(self, kind: Any) -> set[str]:
        listed = await self.objects.list(kind, NAMESPACE, live.selector(self.label))
        return {one["metadata"]["name"] for one in listed.items}

    async def until_names(self, kind: Any, wanted: set[str], seconds: float = 30) -> None:
        async def are_so() -> bool:
            return await self.names(kind) == wanted

        await until(are_so, seconds)

    async def until_ready(self, kind: Any, name: str, seconds: float = 30) -> Manifest:
        async def ready() -> Manifest | None:
            found = await self.objects.get(kind, NAMESPACE, name)
            return found if is_ready(found) else None

        found: Manifest = await until(ready, seconds)
        return found
