"""The KRT document once it is known to be right: section 1 of the KAI reference, typed and frozen.

Names are Python's; defaults are filled in. Text that KAI takes as written stays as written.
"""

from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

WorkflowType: TypeAlias = Literal["data", "training", "feedback", "serving"]
ProcessType: TypeAlias = Literal["trigger", "task", "exit"]
Mode: TypeAlias = Literal["batch", "stream"]
Scope: TypeAlias = Literal["product", "workflow"]
Protocol: TypeAlias = Literal["HTTP", "GRPC"]
OnMessageError: TypeAlias = Literal["fail", "continue"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Subscription(_Frozen):
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


class ObjectStore(_Frozen):
    """The object store that a process shares with its product or its workflow."""

    name: str
    scope: Scope


class Networking(_Frozen):
    """The port that the process listens on (target) and the one it is reached by (destination)."""

    target_port: int
    destination_port: int
    protocol: Protocol = "HTTP"


class Quantity(_Frozen):
    """A request and its limit, as Kubernetes writes quantities; a missing limit took the request's value."""

    request: str
    limit: str


class Resources(_Frozen):
    """What a process may use."""

    cpu: Quantity
    memory: Quantity


class Process(_Frozen):
    """One image and how it is connected. All times are in seconds."""

    name: str
    type: ProcessType
    image: str
    replicas: int = 1
    gpu: bool = False
    config: Mapping[str, str] = {}
    object_store: ObjectStore | None = None
    secrets: tuple[str, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    networking: Networking | None = None
    resources: Resources
    node_selectors: Mapping[str, str] = {}
    retries: int | None = None
    retry_delay: float | None = None
    start_timeout: float | None = None
    execution_timeout: float | None = None
    on_message_error: OnMessageError = "fail"
    deferrable: bool | None = None


class Workflow(_Frozen):
    """Processes that work together. ``mode`` tells whether a run starts them or they live on their own."""

    name: str
    type: WorkflowType
    config: Mapping[str, str] = {}
    processes: tuple[Process, ...]
    schedule: str | None = None
    mode: Mode


class Product(_Frozen):
    """One version of a product: what a KRT describes."""

    name: str
    version: str
    description: str
    config: Mapping[str, str] = {}
    workflows: tuple[Workflow, ...]
