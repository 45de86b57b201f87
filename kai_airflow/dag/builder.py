"""One workflow of the plan as a DAG whose graph is the KRT's graph (docs/architecture.md, section 2)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, TriggerRule

from kai_airflow.dag import docs
from kai_airflow.krt import shown
from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.operators.live_process import LiveProcessOperator
from kai_airflow.operators.live_trigger import LiveTriggerOperator
from kai_airflow.operators.process import ProcessOperator
from kai_airflow.plan import upstreams

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from kai_airflow.plan import Process, Workflow

_LONGEST_DESCRIPTION = 4000  # characters; each of a product's DAGs repeats it
_ANYTHING = ["object", "array", "string", "number", "boolean", "null"]
_GIVEN = ("retries", "pool", "queue", "executor", "priority_weight")
_TIMES = ("retry_delay", "execution_timeout")


def build(workflow: Workflow) -> DAG:
    """The DAG of a workflow. The same workflow gives the same DAG, to the byte of its serialized form."""
    dag = _dag(workflow)
    tasks = {process.name: _task(dag, workflow, process) for process in workflow.processes}
    # Where processes stream in a circle, Airflow is shown all of it but the edges that close it.
    for name, upstream in upstreams(workflow.processes).items():
        tasks[name].set_upstream([tasks[one] for one in upstream])
    # Not before: Airflow copies a DAG's params into each of its tasks, and checks each copy against its schema.
    dag.params.update(_params(workflow))
    return dag


def _dag(workflow: Workflow) -> DAG:
    description = shown(workflow.description[:_LONGEST_DESCRIPTION])
    return DAG(
        dag_id=workflow.dag_id,
        schedule=workflow.schedule,
        start_date=workflow.start,
        end_date=workflow.end,
        catchup=workflow.catchup,
        description=description,
        tags=list(workflow.tags),
        doc_md=docs.of_workflow(workflow, description),
        **_where_said(workflow),
    )


def _where_said(workflow: Workflow) -> dict[str, Any]:
    """What Airflow has defaults of its own for."""
    said: dict[str, Any] = {}
    if workflow.owner:
        said["default_args"] = {"owner": workflow.owner}
    if workflow.max_active_runs:
        said["max_active_runs"] = workflow.max_active_runs
    if workflow.access_control:
        said["access_control"] = {role: set(actions) for role, actions in workflow.access_control.items()}
    return said


def _params(workflow: Workflow) -> dict[str, Param]:
    """What the Trigger form asks for: a run's conf (docs/krt.md, "Starting a run")."""
    triggers = [trigger.name for trigger in workflow.triggers]
    only = triggers[0] if len(triggers) == 1 else None
    return {
        "payload": Param(None, type=_ANYTHING, description="The request's data: any JSON."),
        "trigger": Param(
            only,
            type=["string", "null"],
            enum=[None, *triggers],
            values_display={"null": "choose one"},
            description="The trigger that the request is for.",
        ),
        "request_id": Param(
            None, type=["string", "null"], description="The request's id; made of the run's id where it is left out."
        ),
    }


def _task(dag: DAG, workflow: Workflow, process: Process) -> BaseOperator:
    arguments: dict[str, Any] = {
        "dag": dag,
        "task_id": process.name,
        "workflow": workflow,
        "process": process,
        "doc_md": docs.of_process(process),
    }
    said = ((name, getattr(process, name)) for name in _GIVEN)
    arguments |= {name: value for name, value in said if value is not None}
    times = ((name, getattr(process, name)) for name in _TIMES)
    arguments |= {name: timedelta(seconds=seconds) for name, seconds in times if seconds is not None}
    if process.type == "trigger":
        return (IntakeOperator if workflow.mode == "batch" else LiveTriggerOperator)(**arguments)
    # A fan-in runs when no upstream failed and at least one gave it a message.
    arguments["trigger_rule"] = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    if workflow.mode == "stream":
        return LiveProcessOperator(**arguments)
    if process.deferrable is not None:
        arguments["deferrable"] = process.deferrable
    return ProcessOperator(**arguments)
