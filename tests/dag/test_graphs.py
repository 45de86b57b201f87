"""Random valid KRTs as DAGs: the graph is the KRT's."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import given, settings

from kai_airflow.dag import build
from kai_airflow.krt import check
from kai_airflow.plan import compile_product
from tests.krt.documents import products

PATH = PurePath("shop/krt.yaml")


def edges(workflow: dict[str, Any]) -> set[tuple[str, str]]:
    """Who hears whom, but for the replies that triggers hear."""
    return {
        (subscription.partition(".")[0], process["name"])
        for process in workflow["processes"]
        if process["type"] != "trigger"
        for subscription in process["subscriptions"]
    }


@given(products())
@settings(max_examples=40, deadline=None)
def test_the_graph_of_a_dag_is_that_of_the_subscriptions(document: dict[str, Any]) -> None:
    product = check(json.dumps(document, ensure_ascii=False).encode(errors="replace"), PATH).product
    if product is None:  # consumers that meet
        return
    for workflow, said in zip(compile_product(product).workflows, document["workflows"], strict=True):
        dag = build(workflow)
        found = {(upstream, task.task_id) for task in dag.tasks for upstream in task.upstream_task_ids}
        assert {task.task_id for task in dag.tasks} == {process["name"] for process in said["processes"]}
        if workflow.mode == "batch":
            assert found == edges(said)
        else:  # where processes stream in a circle, an edge that leads back isn't shown
            assert found <= edges(said)
        again = json.dumps(DagSerialization.to_dict(build(workflow)), sort_keys=True)
        assert json.dumps(DagSerialization.to_dict(dag), sort_keys=True) == again
