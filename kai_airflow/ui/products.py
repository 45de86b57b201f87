"""The states of products that a user may see, from what the board and Airflow's database say. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from kai_airflow.bridge.status import Facts, WorkflowStatus, by_product, combined, product_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.bridge.client import Dag
    from kai_airflow.bridge.status import ProductStatus
    from kai_airflow.ui.board import Look
    from kai_airflow.ui.shelf import Shelf


def products(look: Look, shelf: Shelf) -> list[ProductStatus]:
    """Products and versions in order, with those workflows whose DAGs the shelf has.

    Where the KRT of a DAG can't be read, as in an API server without the folder, its tags say what it is of.
    """
    facts = Facts(shelf.dags, shelf.touched, look.objects, look.waiting)
    visible = [workflow for dag_id, workflow in look.workflows.items() if dag_id in shelf.dags]
    found = [product_status(workflows, facts) for workflows in by_product(visible).values()]
    outlines: dict[tuple[str, str], list[WorkflowStatus]] = defaultdict(list)
    for dag_id in sorted(shelf.dags.keys() - look.workflows.keys()):
        tags = shelf.tags[dag_id]
        product, version = tags.get("product", ""), tags.get("version", "")
        status = _outline(dag_id, tags, shelf.dags[dag_id], touched=dag_id in shelf.touched)
        outlines[product, version].append(replace(status, cause="") if look.is_first else status)
    found += [combined(*key, tuple(workflows)) for key, workflows in outlines.items()]
    return sorted(found, key=lambda one: one.product)


def _outline(dag_id: str, tags: Mapping[str, str], dag: Dag, *, touched: bool) -> WorkflowStatus:
    name = dag_id.removeprefix(f"{tags.get('product')}.").removesuffix(f".{tags.get('version')}")
    return WorkflowStatus(
        dag_id=dag_id,
        name=name,
        type=tags.get("type", ""),
        mode="",
        state=("STOPPED" if touched else "CREATED") if dag.paused else None,
        cause="its KRT file can't be read here",
        paused=dag.paused,
        waiting=None,
        processes=(),
    )
