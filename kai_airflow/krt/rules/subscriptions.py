"""The rules of subscriptions: how the processes of a workflow are connected."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kai_airflow.krt import forms
from kai_airflow.krt.rules.common import repetitions
from kai_airflow.krt.rules.workflow import PROCESS_TYPES, mode_of, processes_of
from kai_airflow.krt.wording import MOST_CANDIDATES, choice, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kai_airflow.krt.draft import ProcessDraft, WorkflowDraft
    from kai_airflow.krt.place import Field, Place
    from kai_airflow.krt.report import Issue

MAY_HEAR = {"trigger": ("exit",), "task": ("trigger", "task"), "exit": ("trigger", "task")}
"""The types of process that each type may subscribe to."""
_LONGEST_CYCLE_SHOWN = 12


def are_unique(draft: WorkflowDraft) -> Iterator[Issue]:
    """No process subscribes twice to the same."""
    for process in processes_of(draft):
        for field in repetitions(process.subscriptions.value or ()):
            message = f"the subscription {quoted(field.value or '')} is there already"
            yield field.place.issue("duplicate-subscription", message, "Keep one of them.", named(process, field))


def name_processes_that_may_be_heard(draft: WorkflowDraft) -> Iterator[Issue]:
    """A subscription names another process of the workflow, of a type that the subscriber may hear."""
    types = _types(draft)
    for place, process, field in subscriptions_of(draft):
        target = _target(field)
        if target == process.name.value:
            message = f"the process {quoted(target)} subscribes to itself"
            remedy = "Remove the subscription; to feed results back, go through another process."
            yield field.place.issue("self-subscription", message, remedy, named(process, field))
        elif target not in types:
            yield _unknown(place, process, field, types)
        elif _is_forbidden(process.type.value, types[target]):
            yield _forbidden(process, field, types)


def name_channels_that_can_be(draft: WorkflowDraft) -> Iterator[Issue]:
    """A channel ends up in a NATS subject: parts between dots, without spaces and wildcards."""
    for _, process, field in subscriptions_of(draft):
        _, dot, channel = (field.value or "").partition(".")
        if dot and not forms.fits(forms.CHANNEL, channel):
            message = f"{quoted(channel)} is no channel that a message can be sent on"
            remedy = "Name a channel without spaces, '*', '>' and empty parts, or leave out the dot."
            yield field.place.issue("invalid-channel", message, remedy, named(process, field))
        elif len(channel) > forms.LONGEST_CHANNEL:
            message = f"the channel has {len(channel)} characters, of at most {forms.LONGEST_CHANNEL}"
            yield field.place.issue("invalid-channel", message, "Shorten it.", named(process, field))


def have_no_cycle_in_batch_mode(draft: WorkflowDraft) -> Iterator[Issue]:
    """KAI allows cycles between tasks; a batch run is a DAG, so there they are an error (design, section 2)."""
    if mode_of(draft) != "batch":
        return
    heard = _tasks_heard(draft)
    for cycle in _cycles({name: list(fields) for name, fields in heard.items()}):
        yield heard[cycle[0]][cycle[1]].place.issue(
            "cycle",
            f"the tasks {_round(cycle)} wait for each other, so that no run could begin them",
            "Remove one of these subscriptions, or let the workflow live on with 'x-airflow: {mode: stream}'.",
            draft.processes.place.location,
        )


def subscriptions_of(draft: WorkflowDraft) -> Iterator[tuple[Place, ProcessDraft, Field[str]]]:
    """Each subscription with the process that it is of, and where that stands."""
    for process in draft.processes.value or ():
        if process.value:
            for field in process.value.subscriptions.value or ():
                if field.value is not None:
                    yield process.place, process.value, field


def _types(draft: WorkflowDraft) -> dict[str, str | None]:
    """The type of each process by its name; of two with one name, the first."""
    types: dict[str, str | None] = {}
    for process in processes_of(draft):
        if process.name.value:
            types.setdefault(process.name.value, process.type.value)
    return types


def _target(field: Field[str]) -> str:
    return (field.value or "").partition(".")[0]


def named(process: ProcessDraft, field: Field[str]) -> str:
    """KAI's location of a subscription ends in the subscription itself."""
    return f"{process.subscriptions.place.location}.{field.value}"


def _is_forbidden(subscriber: str | None, heard: str | None) -> bool:
    return subscriber in MAY_HEAR and heard in PROCESS_TYPES and heard not in MAY_HEAR[subscriber]


def _candidates(process: ProcessDraft, types: Mapping[str, str | None]) -> list[str]:
    """What a process may subscribe to, as much of it as a message needs."""
    heard = (name for name, kind in types.items() if not _is_forbidden(process.type.value, kind))
    return list(itertools.islice((name for name in heard if name != process.name.value), MOST_CANDIDATES + 1))


def _unknown(place: Place, process: ProcessDraft, field: Field[str], types: Mapping[str, str | None]) -> Issue:
    message = f"the subscription {quoted(field.value or '')} names a process that this workflow doesn't have"
    candidates = _candidates(process, types)
    remedy = choice(_target(field), candidates) if candidates else "Add the process, or remove the subscription."
    return field.place.issue("unknown-process", message, remedy, place.location)


def _forbidden(process: ProcessDraft, field: Field[str], types: Mapping[str, str | None]) -> Issue:
    subscriber = process.type.value or ""
    message = (
        f"a process of type {subscriber} can't subscribe to {quoted(_target(field))}, of type {types[_target(field)]}"
    )
    candidates = _candidates(process, types)
    which = f": {listed(candidates)}" if candidates else ", and the workflow has none yet"
    remedy = f"Subscribe to a process of type {listed(MAY_HEAR[subscriber])}{which}."
    return field.place.issue("forbidden-subscription", message, remedy, named(process, field))


def _tasks_heard(draft: WorkflowDraft) -> dict[str, dict[str, Field[str]]]:
    """For each task, the other tasks that it subscribes to."""
    tasks = (process for process in processes_of(draft) if process.type.value == "task")
    heard: dict[str, dict[str, Field[str]]] = {task.name.value: {} for task in tasks if task.name.value}
    for _, process, field in subscriptions_of(draft):
        name, target = process.name.value, _target(field)
        if process.type.value == "task" and name in heard and target in heard and name != target:
            heard[name].setdefault(target, field)
    return heard


def _cycles(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Cycles of a graph that share no node, at least one of each knot, in time proportional to the graph.

    Each node of a cycle has an edge to the next, and the last to the first.
    """
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        pending = [iter([start])]
        on_path: dict[str, int] = {}
        while pending:
            node = next(pending[-1], None)
            if node is None:
                pending.pop()
                if path:
                    done.add(gone := path.pop())
                    on_path.pop(gone, None)
            elif node in on_path:
                yield path[on_path[node] :]
                for known in path[on_path[node] :]:
                    del on_path[known]
                    done.add(known)
            elif node not in done:
                on_path[node] = len(path)
                path.append(node)
                pending.append(iter(edges[node]))


def _round(cycle: Sequence[str]) -> str:
    """The way a message would go, back to where it began: each task hears the next one, so it goes round backwards."""
    way = [*reversed(cycle)]
    if len(way) > _LONGEST_CYCLE_SHOWN:
        way = [*way[: _LONGEST_CYCLE_SHOWN - 1], "...", way[-1]]
    return " -> ".join([*way, way[0]])
