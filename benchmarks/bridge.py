"""What the measurements of the bridge share: workflows, messages, and an Airflow that takes every run at once."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import asynccontextmanager, contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.bridge.client import Airflow, Dag
from kai_airflow.bridge.site import Settings
from kai_airflow.bridge.workflow import Workbench, prepare, serve
from kai_airflow.messaging.codec import Message, encode, pack
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow

TRIGGER = "start"
AT_A_TIME = 500  # messages that are published before their acks are waited for
LIMIT = 1 << 20  # bytes

# No pool has that name, so Airflow begins none of their tasks: what is measured ends when a run is there.
NOWHERE = "x-airflow: {pool: nowhere}"
RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"


def krt_of(product: str, messages_per_run: int = 1) -> str:
    """A krt.yaml whose runs never begin."""
    return f"""\
version: v1.0.0
description: 'messages that start runs'
x-airflow: {{product: {product}}}
workflows:
  - name: run
    type: training
    x-airflow: {{max_active_runs: 1, messages_per_run: {messages_per_run}}}
    processes:
      - {{name: {TRIGGER}, type: trigger, image: none, {RESOURCES}, {NOWHERE}}}
      - {{name: exit, type: exit, image: none, subscriptions: [{TRIGGER}], {RESOURCES}, {NOWHERE}}}
"""


def workflow_of(text: str) -> Workflow:
    """The one workflow of a krt.yaml."""
    (workflow,) = compile_product(krt.check(text.encode(), PurePosixPath("krt.yaml")).require()).workflows
    return workflow


def subject_of(workflow: Workflow) -> str:
    """Where its trigger publishes."""
    return f"{workflow.live_stream}.{TRIGGER}"


async def publish(connection: Connection, workflow: Workflow, count: int) -> None:
    """So many messages of some 60 bytes, as fast as the server takes them."""
    subject, js = subject_of(workflow), connection.js
    for first in range(0, count, AT_A_TIME):
        numbers = range(first, min(first + AT_A_TIME, count))
        acks = [await js.publish_async(subject, message(n), stream=workflow.live_stream) for n in numbers]
        await asyncio.gather(*acks)


def message(number: int) -> bytes:
    """What a trigger publishes."""
    return encode(Message(f"request-{number}", pack({"n": number}), from_node=TRIGGER), LIMIT)


class Instant(Airflow):
    """An Airflow that has a run as soon as it is asked for: what is left is the bridge's own."""

    def __init__(self) -> None:
        self.runs_started, self._wanted = 0, 0
        self._enough = asyncio.Event()

    async def dag(self, _: str) -> Dag | None:
        """It is there."""
        return Dag(paused=False, broken=False)

    async def queued(self, _: str) -> int:
        """None waits."""
        return 0

    async def start(self, *_: object) -> None:
        """Count it."""
        self.runs_started += 1
        if self.runs_started == self._wanted:
            self._enough.set()

    async def started(self, count: int) -> None:
        """Wait for so many runs, all told."""
        self._wanted = count
        self._enough.clear()
        if self.runs_started < count:
            await self._enough.wait()


async def prepared(connection: Connection, workflow: Workflow) -> None:
    """Make its streams exist."""
    await prepare(_bench(connection, Instant()), workflow)


@asynccontextmanager
async def served(connection: Connection, airflow: Airflow, workflow: Workflow) -> AsyncIterator[None]:
    """A bridge serves it, and logs as the command does, to nowhere."""
    with _logged():
        serving = asyncio.create_task(serve(_bench(connection, airflow), workflow))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def _bench(connection: Connection, airflow: Airflow) -> Workbench:
    return Workbench(connection, airflow, Settings(max_queued_runs=10**9))


@contextmanager
def _logged() -> Iterator[None]:
    log, handler = logging.getLogger("kai_airflow.bridge"), logging.StreamHandler(_Nowhere())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)
