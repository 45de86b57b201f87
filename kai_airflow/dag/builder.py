"""One workflow of the plan as a DAG whose graph is the KRT's graph (docs/architecture.md, section 2)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TriggerRule

from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.operators.process import ProcessOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from kai_airflow.plan import Process, Workflow

START_DATE = datetime(2020, 1, 1, tzinfo=UTC)


def build(workflow: Workflow) -> DAG:
    """The DAG of a workflow. The same workflow gives the same DAG, to the byte of its serialized form."""
    dag = DAG(
        dag_id=workflow.dag_id,
        schedule=workflow.schedule,
        start_date=START_DATE,
        catchup=False,
        description=workflow.description,
        tags=list(workflow.tags),
        doc_md=_doc(workflow),
    )
    tasks = {process.name: _task(dag, workflow, process) for process in workflow.processes}
    for position, process in enumerate(workflow.processes):
        before = {earlier.name for earlier in workflow.processes[:position]}
        # Where processes stream in a circle, Airflow is shown all of it but the edges that lead back.
        for upstream in before.intersection(process.upstream):
            tasks[process.name].set_upstream(tasks[upstream])
    return dag


def _task(dag: DAG, workflow: Workflow, process: Process) -> BaseOperator:
    arguments: dict[str, Any] = {
        "dag": dag,
        "task_id": process.name,
        "workflow": workflow,
        "process": process,
    }
    if process.retries is not None:
        arguments["retries"] = process.retries
    if process.type == "trigger":
        return IntakeOperator(**arguments)
    # A fan-in runs when no upstream failed and at least one gave it a message.
    return ProcessOperator(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, **arguments)


def _doc(workflow: Workflow) -> str:
    # Never ends with text from a KRT: Airflow opens what ends in ".md" as a file.
    return (
        f"Workflow **{workflow.name}** ({workflow.type}) of product **{workflow.product}**, "
        f"version {workflow.version}.\n\n"
        "Made from a krt.yaml by kai-airflow.\n"
    )
