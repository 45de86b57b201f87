"""What a KRT becomes, as frozen data: everything that the rest of the project needs to know of it.

The names in here are complete: whoever reads a plan never makes a name, except those of one try of a run
(:mod:`kai_airflow.plan.names`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.plan.names import Bucket, DagId, Stream

Mode = Literal["batch", "stream"]


@dataclass(frozen=True)
class Feed:
    """One subscription that a run feeds: what ``process`` published on ``channel`` ("" is its bare subject)."""

    process: str
    channel: str


@dataclass(frozen=True)
class Buckets:
    """The four key-value buckets that an SDK process needs to start (KAI reference, sections 2 and 4)."""

    shared: Bucket
    version: Bucket
    workflow: Bucket
    process: Bucket


@dataclass(frozen=True)
class Resources:
    """Kubernetes quantities as text."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str


@dataclass(frozen=True)
class Process:
    """One process of a workflow: a task of its DAG. Times are in seconds; None leaves a thing to Airflow's defaults."""

    name: str
    type: Literal["trigger", "task", "exit"]
    image: str
    config: Mapping[str, str]
    replicas: int
    gpu: bool
    resources: Resources
    node_selectors: Mapping[str, str]
    secrets: tuple[str, ...]
    object_store: Bucket | None
    buckets: Buckets
    feeds: tuple[Feed, ...]
    replies: tuple[str, ...]
    retries: int | None
    retry_delay: float | None
    start_timeout: float | None
    execution_timeout: float | None
    on_message_error: Literal["fail", "continue"]
    deferrable: bool | None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The processes that feed this one, each once, in the order of its subscriptions."""
        return tuple(dict.fromkeys(feed.process for feed in self.feeds))


@dataclass(frozen=True)
class Workflow:
    """One workflow: a DAG. Its processes stand in topological order."""

    dag_id: DagId
    product: str
    version: str
    name: str
    type: Literal["data", "training", "feedback", "serving"]
    mode: Mode
    description: str
    schedule: str | None
    tags: tuple[str, ...]
    version_config: Mapping[str, str]
    config: Mapping[str, str]
    live_stream: Stream
    run_stream: Stream
    processes: tuple[Process, ...]

    @property
    def triggers(self) -> tuple[Process, ...]:
        """The processes whose requests start runs."""
        return tuple(process for process in self.processes if process.type == "trigger")


@dataclass(frozen=True)
class Plan:
    """One version of a product."""

    product: str
    version: str
    description: str
    workflows: tuple[Workflow, ...]
