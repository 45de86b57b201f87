"""What a product is doing, in KAI's words (KAI reference, section 6): derived from what is there, never stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kai_airflow.kube import Published

State = Literal["CREATED", "STARTING", "STARTED", "PUBLISHED", "STOPPING", "STOPPED", "ERROR"]


@dataclass(frozen=True)
class ProcessStatus:
    """A process; one that lives only in runs has no state. ``cause``: why it isn't (yet) what it should be."""

    name: str
    type: str
    image: str
    state: State | None
    cause: str
    ready: int
    wanted: int


@dataclass(frozen=True)
class WorkflowStatus:
    """A workflow. ``paused`` is None where Airflow doesn't know its DAG (yet).

    ``waiting``: messages of its triggers that have not become runs, or that its processes have not taken; None where
    nobody can tell.
    """

    dag_id: str
    name: str
    type: str
    mode: str
    state: State
    cause: str
    paused: bool | None
    waiting: int | None
    processes: tuple[ProcessStatus, ...]


@dataclass(frozen=True)
class ProductStatus:
    """A version of a product."""

    product: str
    version: str
    state: State
    cause: str
    published: tuple[Published, ...]
    workflows: tuple[WorkflowStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
