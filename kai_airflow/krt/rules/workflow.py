"""The rules of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from kai_airflow.krt.model import ProcessType, WorkflowType
from kai_airflow.krt.rules import common
from kai_airflow.krt.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import ProcessDraft, ProductDraft, WorkflowDraft
    from kai_airflow.krt.model import Mode
    from kai_airflow.krt.report import Issue

WORKFLOW_TYPES: tuple[str, ...] = get_args(WorkflowType)
PROCESS_TYPES: tuple[str, ...] = get_args(ProcessType)


def all_of(draft: ProductDraft) -> Iterator[WorkflowDraft]:
    """The workflows that could be read."""
    return (field.value for field in draft.workflows.value or () if field.value)


def processes_of(draft: WorkflowDraft) -> Iterator[ProcessDraft]:
    """The processes that could be read."""
    return (field.value for field in draft.processes.value or () if field.value)


def mode_of(draft: WorkflowDraft) -> Mode:
    """What the extension says, else batch for data and training, stream for serving and feedback."""
    said = draft.extension.value.mode.value if draft.extension.value else None
    if said is not None:
        return cast("Mode", said)
    return "batch" if draft.type.value in ("data", "training") else "stream"


def name(draft: WorkflowDraft) -> Iterator[Issue]:
    """Required, KAI's form."""
    yield from common.name(draft.name, "workflow")


def type_is_known(draft: WorkflowDraft) -> Iterator[Issue]:
    """Required, one of four."""
    yield from common.missing(draft.type, f"Write 'type:' with {listed(WORKFLOW_TYPES)}.")
    yield from common.one_of(draft.type, "invalid-workflow-type", "type of a workflow", WORKFLOW_TYPES)


def has_processes(draft: WorkflowDraft) -> Iterator[Issue]:
    """At least one."""
    yield from common.missing(draft.processes, "List at least a trigger and an exit under 'processes:'.")


def has_trigger_and_exit(draft: WorkflowDraft) -> Iterator[Issue]:
    """At least one of each, among the processes that are there."""
    types = {process.type.value for process in processes_of(draft)}
    lacking = [kind for kind in ("trigger", "exit") if kind not in types]
    if draft.processes.value and lacking:
        message = f"the workflow has no process of type {listed(lacking)}"
        remedy = f"Add a process with 'type: {lacking[0]}': a workflow begins with a trigger and ends with an exit."
        yield draft.processes.place.issue("not-enough-processes", message, remedy)


def process_names_are_unique(draft: WorkflowDraft) -> Iterator[Issue]:
    """No two processes of a workflow share a name."""
    yield from common.repeated((process.name for process in processes_of(draft)), "process")
