"""One workflow of the plan as a DAG whose graph is the KRT's graph (docs/architecture.md, section 2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TriggerRule
from airflow.sdk.exceptions import AirflowTimetableInvalid

from kai_airflow.errors import KaiAirflowError
from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.operators.process import ProcessOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from kai_airflow.plan import Process, Workflow

START_DATE = datetime(2020, 1, 1, tzinfo=UTC)


class ScheduleError(KaiAirflowError):
    """A schedule that Airflow can't follow."""


def build(workflow: Workflow) -> DAG:
    """The DAG of a workflow. The same workflow gives the same DAG, to the byte of its serialized form.

    :raises ScheduleError: Airflow can't follow the workflow's schedule
    """
    dag = _dag(workflow)
    tasks = {process.name: _task(dag, workflow, process) for process in workflow.processes}
    for position, process in enumerate(workflow.processes):
        before = {earlier.name for earlier in workflow.processes[:position]}
        # Where processes stream in a circle, Airflow is shown all of it but the edges that lead back.
        for upstream in before.intersection(process.upstream):
            tasks[process.name].set_upstream(tasks[upstream])
    return dag


def _dag(workflow: Workflow) -> DAG:
    try:
        dag = DAG(
            dag_id=workflow.dag_id,
            schedule=workflow.schedule,
            start_date=START_DATE,
            catchup=False,
            description=workflow.description,
            tags=list(workflow.tags),
            doc_md=_doc(workflow),
        )
        dag.timetable.validate()
    except (AirflowTimetableInvalid, ValueError) as error:
        raise ScheduleError(
            f"workflow {workflow.name!r}: x-airflow.schedule {workflow.schedule!r}: {error} Remedy: a cron expression "
            "of five fields such as '0 6 * * *', or a preset such as '@daily'."
        ) from error
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
    for name in ("retry_delay", "execution_timeout"):
        if (seconds := getattr(process, name)) is not None:
            arguments[name] = timedelta(seconds=seconds)
    if process.type == "trigger":
        return IntakeOperator(**arguments)
    if process.deferrable is not None:
        arguments["deferrable"] = process.deferrable
    # A fan-in runs when no upstream failed and at least one gave it a message.
    return ProcessOperator(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, **arguments)


def _doc(workflow: Workflow) -> str:
    # Never ends with text from a KRT: Airflow opens what ends in ".md" as a file.
    return (
        f"Workflow **{workflow.name}** ({workflow.type}) of product **{workflow.product}**, "
        f"version {workflow.version}.\n\n"
        "Made from a krt.yaml by kai-airflow.\n"
    )
