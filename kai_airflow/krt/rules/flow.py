"""What the graph of a workflow tells: processes that no message reaches, and messages that nobody takes."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from kai_airflow.krt.rules.workflow import PROCESS_TYPES, processes_of
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.krt.draft import ProcessDraft, WorkflowDraft
    from kai_airflow.krt.report import Issue


def reaches_every_process(draft: WorkflowDraft) -> Iterator[Issue]:
    """Messages of a trigger find their way to each task and exit; one that subscribes to nothing is told by itself."""
    if not _is_clear(draft):
        return
    reached = _reached(draft)
    for process in processes_of(draft):
        if process.subscriptions.value and _is_fed(process) and _name(process) not in reached:
            message = f"no message of a trigger ever reaches the {process.type.value} {quoted(_name(process))}"
            remedy = "Subscribe it, or one that it subscribes to, to a trigger or to what follows one."
            yield process.subscriptions.place.issue("unreachable-process", message, remedy)


def reads_every_message(draft: WorkflowDraft) -> Iterator[Issue]:
    """What a trigger or a task publishes is for somebody."""
    if not _is_clear(draft):
        return
    heard = {target for targets in _heard(draft).values() for target in targets}
    for process in processes_of(draft):
        if process.type.value in ("trigger", "task") and _name(process) and _name(process) not in heard:
            message = f"nobody subscribes to the {process.type.value} {quoted(_name(process))}: its messages are lost"
            remedy = "Subscribe a task or an exit to it, or remove it."
            yield process.name.place.issue("unread-messages", message, remedy)


def _reached(draft: WorkflowDraft) -> set[str]:
    """The triggers, and all that hears them directly or through others."""
    hearers: Mapping[str, list[str]] = defaultdict(list)
    for name, targets in _heard(draft).items():
        for target in targets:
            hearers[target].append(name)
    reached = {name for process in processes_of(draft) if process.type.value == "trigger" and (name := _name(process))}
    pending = deque(reached)
    while pending:
        further = set(hearers[pending.popleft()]) - reached
        reached |= further
        pending.extend(further)
    return reached


def _heard(draft: WorkflowDraft) -> dict[str, set[str]]:
    """For each task and exit, the processes that it subscribes to."""
    return {
        _name(process): {(field.value or "").partition(".")[0] for field in process.subscriptions.value or ()}
        for process in processes_of(draft)
        if _is_fed(process)
    }


def _is_clear(draft: WorkflowDraft) -> bool:
    """Whether all can be told of the graph: of one mistake more would be told than there is to mend."""
    processes = list(processes_of(draft))
    names = [_name(process) for process in processes]
    return (
        not any(field.wrong for field in draft.processes.value or ())
        and len(set(names)) == len(names)
        and all(process.type.value in PROCESS_TYPES for process in processes)
        and all(process.subscriptions.value is not None for process in processes if _is_fed(process))
        and all(targets.issubset(names) for targets in _heard(draft).values())
    )


def _is_fed(process: ProcessDraft) -> bool:
    return process.type.value in ("task", "exit")


def _name(process: ProcessDraft) -> str:
    return process.name.value or ""
