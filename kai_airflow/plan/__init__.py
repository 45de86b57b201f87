"""What a KRT becomes, as frozen data. Pure functions from the KRT's model to the plan."""

from kai_airflow.plan.compiler import compile_product, dag_ids
from kai_airflow.plan.graph import circle, upstreams
from kai_airflow.plan.mermaid import flowchart
from kai_airflow.plan.model import Buckets, Feed, Input, Live, Plan, Process, Resources, Workflow

__all__ = [
    "Buckets",
    "Feed",
    "Input",
    "Live",
    "Plan",
    "Process",
    "Resources",
    "Workflow",
    "circle",
    "compile_product",
    "dag_ids",
    "flowchart",
    "upstreams",
]
