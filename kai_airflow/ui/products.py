"""The states of products that a user may see, from what the board and Airflow's database say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.bridge.lifecycle.outlines import outline, outlined
from kai_airflow.bridge.lifecycle.status import Facts, by_product, product_status

if TYPE_CHECKING:
    from kai_airflow.bridge.client import Dag
    from kai_airflow.bridge.lifecycle.status import ProductStatus
    from kai_airflow.ui.board import Look
    from kai_airflow.ui.shelf import Shelf


def products(look: Look, shelf: Shelf) -> list[ProductStatus]:
    """Products and versions in order, with those workflows whose DAGs the shelf has.

    Where the KRT of a DAG can't be read, as in an API server without the folder, its tags say what it is of.
    """
    facts = Facts(shelf.dags, shelf.touched, look.objects, look.waiting)
    visible = [workflow for dag_id, workflow in look.workflows.items() if dag_id in shelf.dags]
    found = [product_status(workflows, facts) for workflows in by_product(visible).values()]
    unread = sorted(shelf.dags.keys() - look.workflows.keys())
    there = [(dag_id, dag) for dag_id in unread if not (dag := shelf.dags[dag_id]).broken or dag.is_of(look.broken)]
    found += outlined(
        (dag, outline(dag_id, dag, _why(look, dag), touched=dag_id in shelf.touched)) for dag_id, dag in there
    )
    return sorted(found, key=lambda one: one.product)


def _why(look: Look, dag: Dag) -> str:
    if dag.broken:
        return "its KRT file has errors: see Airflow's import errors"
    return "" if look.is_first else "its KRT file can't be read here"
