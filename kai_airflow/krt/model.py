"""The KRT document once it is known to be right: section 1 of the KAI reference, typed and frozen.

Names are Python's; defaults are filled in. Text that KAI takes as written stays as written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, TypeAlias

from kai_airflow.krt.cron import Timing

WorkflowType: TypeAlias = Literal["data", "training", "feedback", "serving"]
ProcessType: TypeAlias = Literal["trigger", "task", "exit"]
Mode: TypeAlias = Literal["batch", "stream"]
Scope: TypeAlias = Literal["product", "workflow"]
Protocol: TypeAlias = Literal["HTTP", "GRPC"]
OnMessageError: TypeAlias = Literal["fail", "continue"]

START = datetime(2020, 1, 1)  # noqa: DTZ001 - in the workflow's own time zone
"""When a schedule begins that says nothing of it."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a process listens to: what another publishes on its bare subject (channel ``""``) or on one channel."""

    process: str
    channel: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``x`` or ``x.go``: the part before the first dot is the process, the rest is the channel."""
        process, _, channel = text.partition(".")
        return cls(process=process, channel=channel)

    @property
    def text(self) -> str:
        """As the KRT writes it."""
        return f"{self.process}.{self.channel}" if self.channel else self.process


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The object store that a process shares with its product or its workflow."""

    name: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Networking:
    """The port that the process listens on (target) and the one it is reached by (destination)."""

    target_port: int
    destination_port: int
    protocol: Protocol = "HTTP"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A request and its limit, as Kubernetes writes quantities; a missing limit took the request's value."""

    request: str
    limit: str


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process may use."""

    cpu: Quantity
    memory: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One image and how it is connected. All times are in seconds; None leaves a thing to Airflow's defaults."""

    name: str
    type: ProcessType
    image: str
    resources: Resources
    replicas: int = 1
    gpu: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    object_store: ObjectStore | None = None
    secrets: tuple[str, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    networking: Networking | None = None
    node_selectors: Mapping[str, str] = field(default_factory=dict)
    retries: int | None = None
    retry_delay: float | None = None
    start_timeout: float | None = None
    execution_timeout: float | None = None
    on_message_error: OnMessageError = "fail"
    deferrable: bool | None = None
    pool: str | None = None
    queue: str | None = None
    executor: str | None = None
    priority_weight: int | None = None
    pod: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """Processes that work together.

    ``mode`` tells whether a run starts them or they live on their own. ``keeper`` is the trigger whose time Airflow
    keeps instead of its image, and ``timing`` its schedule; ``schedule`` takes the place of that.
    """

    name: str
    type: WorkflowType
    processes: tuple[Process, ...]
    mode: Mode
    config: Mapping[str, str] = field(default_factory=dict)
    keeper: str | None = None
    timing: Timing | None = None
    schedule: str | None = None
    timezone: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    catchup: bool = False
    max_active_runs: int | None = None
    messages_per_run: int = 1
    access_control: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One version of a product: what a KRT describes."""

    name: str
    version: str
    description: str
    workflows: tuple[Workflow, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    version_in_dag_id: bool = False
