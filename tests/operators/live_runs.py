"""Runs of a streaming workflow: what Airflow gives their tasks, and what is read of what they leave."""

from __future__ import annotations

import asyncio
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from kai_airflow.bridge.live.nats_side import LiveNats
from kai_airflow.messaging import codec
from kai_airflow.messaging.tries import Manifest
from kai_airflow.operators.live_process import LiveProcessOperator
from kai_airflow.operators.live_trigger import LiveTriggerOperator
from tests.streaming import process_of, streaming

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from kai_airflow.plan import Workflow
    from tests.conftest import LiveWorkflow, NatsServer

STREAMING = streaming()
FORWARD = {"do": "forward"}


@dataclass
class Run:
    """A run, as Airflow knows it, and what its tasks have left."""

    conf: Any = field(default_factory=dict)
    run_type: str = "manual"
    clear_number: int = 0
    run_id: str = field(default_factory=lambda: f"manual__{uuid.uuid4()}")
    dag_id: str = "shop.train"
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    logical_date: datetime | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    stores: dict[str, dict[str, Any]] = field(default_factory=dict)

    def context(self, task_id: str) -> Context:
        found = {"ti": Ti(self, task_id), "dag_run": self, "task_state_store": self.stores.setdefault(task_id, Store())}
        return cast("Context", found)


class Store(dict[str, Any]):
    """Airflow's state store of a task."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@dataclass
class Ti:
    """A task instance."""

    run: Run
    task_id: str
    dag_id: str = "shop.train"

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def xcom_push(self, key: str, value: Any) -> None:
        assert key == "manifest"
        self.run.xcoms[self.task_id] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        assert key == "manifest"
        return self.run.xcoms.get(task_ids)

    def get_task_states(self, task_ids: list[str], **_: Any) -> dict[str, dict[str, str]]:
        return {self.run.run_id: {name: self.run.states[name] for name in task_ids if name in self.run.states}}


class Lines:
    """What a task has logged."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()

    def info(self, event: str, *arguments: object) -> None:
        with self._news:
            self._lines.append(event % arguments)
            self._news.notify_all()

    warning = info

    async def said(self, text: str) -> str:
        """The first line with this text in it, awaited."""
        assert await asyncio.to_thread(self._wait, text), f"{text!r} not in {self._lines}"
        return next(line for line in self._lines if text in line)

    def _wait(self, text: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: any(text in line for line in self._lines), 20)


@pytest.fixture(autouse=True)
def site(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", nats_server.url)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    heard = Lines()
    for kind in (LiveTriggerOperator, LiveProcessOperator):
        monkeypatch.setattr(kind, "log", heard)
    return heard


@pytest.fixture
async def ready(live: LiveWorkflow) -> LiveWorkflow:
    """All that the processes bind to."""
    return await prepared(live, STREAMING)


async def prepared(live: LiveWorkflow, workflow: Workflow) -> LiveWorkflow:
    for process in workflow.processes:
        await LiveNats(live.connection).prepare(workflow, process)
    return live


async def done(run: Run, task_id: str, workflow: Workflow = STREAMING) -> Manifest:
    """What a task leaves."""
    process = process_of(workflow, task_id)
    kind = LiveTriggerOperator if process.type == "trigger" else LiveProcessOperator
    operator = kind(task_id=task_id, workflow=workflow, process=process)
    try:
        await asyncio.to_thread(operator.execute, run.context(task_id))
    except AirflowSkipException:
        run.states[task_id] = "skipped"
        raise
    run.states[task_id] = "success"
    return Manifest.from_json(run.xcoms[task_id])


def counts(manifest: Manifest) -> dict[str, int]:
    return {name: sum(map(len, tries.values())) for name, tries in manifest.channels.items()}


async def said_by(live: LiveWorkflow, manifest: Manifest) -> list[codec.Json]:
    raw = [await live.connection.js.get_msg(live.stream, n) for n in manifest.sequences]
    return [codec.unpack(codec.decode(one.data or b"").payload) for one in raw]
