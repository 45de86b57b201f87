"""What a KRT becomes, as frozen data: everything that the rest of the project needs to know of it.

The names in here are complete: whoever reads a plan never makes a name, except those of one try of a run
(:mod:`kai_airflow.plan.names`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from kai_airflow.plan.names import Bucket, Consumer, DagId, Deployment, Stream, Subject

Mode = Literal["batch", "stream"]


@dataclass(frozen=True)
class Feed:
    """One subscription that a run feeds: what ``process`` published on ``channel`` ("" is its bare subject)."""

    process: str
    channel: str

    @property
    def text(self) -> str:
        """As the KRT writes it."""
        return f"{self.process}.{self.channel}" if self.channel else self.process


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
class Networking:
    """The port that a process listens on (target) and the one that it is called by (destination)."""

    target_port: int
    destination_port: int
    protocol: Literal["HTTP", "GRPC"]


@dataclass(frozen=True)
class Input:
    """What a long-lived process listens to. A trigger's consumer has no name: the SDK ends it with a random id."""

    subject: Subject
    consumer: Consumer | None


@dataclass(frozen=True)
class Live:
    """A process that lives beside the runs, on KAI's own subjects (design, section 5)."""

    deployment: Deployment
    output: Subject
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Process:
    """One process of a workflow: a task of its DAG. Times are in seconds; None leaves a thing to Airflow's defaults.

    ``live`` is None where nothing of it outlives a run: a task or exit in batch mode, and a trigger whose time Airflow
    keeps. ``pod`` is what the KRT adds to its pods.
    """

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
    pool: str | None
    queue: str | None
    executor: str | None
    priority_weight: int | None
    pod: Mapping[str, Any]
    networking: Networking | None
    live: Live | None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The processes that feed this one, each once, in the order of its subscriptions."""
        return tuple(dict.fromkeys(feed.process for feed in self.feeds))


@dataclass(frozen=True)
class Workflow:
    """One workflow: a DAG. Its processes stand in topological order.

    ``schedule`` is what Airflow takes for one; ``keeper`` the trigger that it stands for, where the KRT has one.
    ``start`` and ``end`` bound it, and know their time zones; the schedule's is that of ``start``.
    """

    dag_id: DagId
    product: str
    version: str
    name: str
    type: Literal["data", "training", "feedback", "serving"]
    mode: Mode
    description: str
    schedule: str | timedelta | None
    keeper: str | None
    start: datetime
    end: datetime | None
    catchup: bool
    max_active_runs: int | None
    messages_per_run: int
    access_control: Mapping[str, tuple[str, ...]]
    owner: str | None
    namespace: str | None
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
