"""What there is of workflows whose KRT can't be read, as their DAGs tell. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kai_airflow.bridge.lifecycle.status import WorkflowStatus, combined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kai_airflow.bridge.client import Dag
    from kai_airflow.bridge.lifecycle.status import ProductStatus, State


def outline(dag_id: str, dag: Dag, why: str, *, touched: bool) -> WorkflowStatus:
    """A workflow whose KRT can't be read, as its DAG tells; ``why``: what is the matter with the KRT."""
    resting: State = "STOPPED" if touched else "CREATED"
    running: State | None = "ERROR" if dag.broken else None
    name = dag_id.removeprefix(f"{dag.tags.get('product')}.").removesuffix(f".{dag.tags.get('version')}")
    return WorkflowStatus(
        dag_id=dag_id,
        name=name,
        type=dag.tags.get("type", ""),
        mode="",
        state=resting if dag.paused else running,
        cause=why,
        paused=dag.paused,
        waiting=None,
        processes=(),
    )


def outlined(outlines: Iterable[tuple[Dag, WorkflowStatus]]) -> list[ProductStatus]:
    """Versions of which nothing but outlines is known, in order."""
    found: dict[tuple[str, str], list[WorkflowStatus]] = defaultdict(list)
    for dag, status in outlines:
        found[dag.tags.get("product", ""), dag.tags.get("version", "")].append(status)
    return [combined(*key, tuple(found[key])) for key in sorted(found)]
