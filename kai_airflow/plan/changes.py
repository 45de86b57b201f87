"""What would change if one plan took the place of another, as frozen data for people and programs to be told.

Nothing here lists the fields of a plan: whatever a dataclass of it holds is compared, so a new field is never left out.
A field whose type is a name (``Stream``, ``Bucket`` and so on) is a thing of NATS or Kubernetes that comes or goes;
every other one is a setting. Secrets are compared, and masked in what is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from kai_airflow.plan import consequences
from kai_airflow.plan.model import Plan, Process, Workflow
from kai_airflow.plan.plain import masked_field, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from dataclasses import Field

    from kai_airflow.plan.consequences import Consequence

T = TypeVar("T", Workflow, Process)
Path: TypeAlias = tuple[str, ...]
Leaves: TypeAlias = "dict[Path, tuple[Any, Any]]"
"""Each setting by its path: its value, and what may be shown of it."""

_Edge: TypeAlias = tuple[str, str, bool]
"""Process, subscription, and whether it is for replies."""

_NOTHING = (None, None)

_KINDS = {name: name.lower() for name in ("Stream", "Subject", "Consumer", "Bucket", "Deployment")}
_NAME_TYPES = frozenset({*_KINDS, "DagId"})
_FIRST_WORD = re.compile(r"\w+")
_TOLD_ELSEWHERE = frozenset({"name", "workflows", "processes", "feeds", "replies"})
"""Told as DAGs, tasks and edges."""


@dataclass(frozen=True)
class Change:
    """A setting: where it is, what it was and what it would be; None stands for nothing. A secret is ``***``."""

    path: Path
    old: Any
    new: Any


@dataclass(frozen=True)
class EdgeChange:
    """A subscription of a process; ``reply``: a trigger's to an exit, which is no edge of the DAG."""

    change: Literal["added", "removed"]
    process: str
    subscription: str
    reply: bool


@dataclass(frozen=True)
class TaskChange:
    """A task; its old name is None where it is added, its new one where it is removed."""

    change: Literal["added", "removed", "renamed", "changed"]
    old_name: str | None
    new_name: str | None
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class DagChange:
    """A DAG; its old id is None where it is added, its new one where it is removed."""

    change: Literal["added", "removed", "renamed", "changed"]
    old_id: str | None
    new_id: str | None
    changes: tuple[Change, ...]
    tasks: tuple[TaskChange, ...]
    edges: tuple[EdgeChange, ...]
    consequences: tuple[Consequence, ...]


@dataclass(frozen=True)
class NameChange:
    """A thing of NATS or Kubernetes that the new plan has and the old one hasn't, or the other way round."""

    change: Literal["added", "removed"]
    kind: str
    name: str


@dataclass(frozen=True)
class Changes:
    """All that would change: of the product, of each DAG, and in NATS and Kubernetes."""

    changes: tuple[Change, ...]
    consequences: tuple[Consequence, ...]
    dags: tuple[DagChange, ...]
    names: tuple[NameChange, ...]

    def __bool__(self) -> bool:
        return bool(self.changes or self.dags or self.names)


def compare(old: Plan, new: Plan) -> Changes:
    """What would change if ``new`` took the place of ``old``."""
    dags = [_dag(*pair) for pair in _paired(old.workflows, new.workflows, _workflow_likeness)]
    return Changes(
        changes=_changes(_settings(old), _settings(new)),
        consequences=tuple(consequences.of_product(old, new)),
        dags=tuple(dag for dag in dags if dag.change != "changed" or dag.changes or dag.tasks or dag.edges),
        names=tuple(_name_changes(set(_names(old)), set(_names(new)))),
    )


def _paired(old: Iterable[T], new: Iterable[T], likeness: Callable[[T], str]) -> list[tuple[T | None, T | None]]:
    """Those of one name, and those that only the name tells apart, in the order of the new ones; then what is gone."""
    before, after = {one.name: one for one in old}, {one.name: one for one in new}
    renamed = _renamed(
        [one for name, one in before.items() if name not in after],
        [one for name, one in after.items() if name not in before],
        likeness,
    )
    pairs: list[tuple[T | None, T | None]] = [(before.get(name, renamed.get(name)), one) for name, one in after.items()]
    known = {one.name for one, _ in pairs if one}
    return pairs + [(one, None) for name, one in before.items() if name not in known]


def _renamed(gone: list[T], come: list[T], likeness: Callable[[T], str]) -> dict[str, T]:
    """What is gone, by the name that it has now. Where several are alike, nobody can tell."""
    before, after = [(likeness(one), one) for one in gone], [(likeness(one), one) for one in come]
    count = Counter(like for like, _ in before), Counter(like for like, _ in after)
    only = {like: one for like, one in before if count[0][like] == count[1][like] == 1}
    return {one.name: only[like] for like, one in after if like in only}


def _workflow_likeness(workflow: Workflow) -> str:
    return repr((workflow.type, sorted(process.name for process in workflow.processes)))


def _process_likeness(process: Process) -> str:
    return repr(sorted(_settings(process).items()))


def _dag(old: Workflow | None, new: Workflow | None) -> DagChange:
    old_id, new_id = old.dag_id if old else None, new.dag_id if new else None
    pairs = _paired(old.processes if old else (), new.processes if new else (), _process_likeness)
    tasks = [_task(*pair) for pair in pairs]
    told = tuple(task for task in tasks if task.change != "changed" or task.changes)
    renamed = {task.old_name: task.new_name for task in tasks if task.change == "renamed"}
    return DagChange(
        change=_kind_of_change(old_id, new_id),
        old_id=old_id,
        new_id=new_id,
        changes=_changes(_settings(old), _settings(new)),
        tasks=told,
        edges=tuple(_edge_changes(_edges(old, renamed), _edges(new, {}))),
        consequences=tuple(consequences.of_workflow(old, new, {a.name: b.name if b else None for a, b in pairs if a})),
    )


def _task(old: Process | None, new: Process | None) -> TaskChange:
    old_name, new_name = old.name if old else None, new.name if new else None
    return TaskChange(
        change=_kind_of_change(old_name, new_name),
        old_name=old_name,
        new_name=new_name,
        changes=_changes(_settings(old), _settings(new)),
    )


def _kind_of_change(old: str | None, new: str | None) -> Literal["added", "removed", "renamed", "changed"]:
    if old is None or new is None:
        return "added" if old is None else "removed"
    return "changed" if old == new else "renamed"


def _changes(old: Leaves, new: Leaves) -> tuple[Change, ...]:
    """In the order of the new settings; then those that are gone."""
    changed = [path for path in {**new, **old} if not _same(old.get(path, _NOTHING)[0], new.get(path, _NOTHING)[0])]
    return tuple(Change(path, old.get(path, _NOTHING)[1], new.get(path, _NOTHING)[1]) for path in changed)


def _same(old: object, new: object) -> bool:
    """Whether values are equal; to Python true is 1."""
    return old == new and isinstance(old, bool) is isinstance(new, bool)


def _settings(of: Plan | Workflow | Process | None) -> Leaves:
    """What is said of a product, a DAG or a task; a workflow repeats what is said of its product."""
    if of is None:
        return {}
    elsewhere = _TOLD_ELSEWHERE | ({field.name for field in fields(Plan)} if isinstance(of, Workflow) else set())
    found = (_leaves((field.name,), getattr(of, field.name)) for field in _no_names(of) if field.name not in elsewhere)
    return {path: leaf for leaves in found for path, leaf in leaves}


def _leaves(path: Path, value: object) -> Iterator[tuple[Path, tuple[Any, Any]]]:
    if is_dataclass(value):
        for field in _no_names(value):
            yield from _leaves((*path, field.name), getattr(value, field.name))
    elif isinstance(value, tuple) and any(map(is_dataclass, value)):
        for number, item in enumerate(value):
            yield from _leaves((*path, str(number)), item)
    elif value != ():
        yield from _plain_leaves(path, plain(value), masked_field(path[-1], value))


def _plain_leaves(path: Path, value: Any, shown: Any) -> Iterator[tuple[Path, tuple[Any, Any]]]:
    """Maps by their keys, lists of Kubernetes by the names of their items; ``shown`` is a text where it is masked."""
    below, below_shown = _by_key(value), _by_key(shown)
    empty = below is not None and not below and len(path) > 1  # emptyDir: {} says something, config: {} doesn't
    if below is None or below_shown is None or empty:
        if value is not None:
            yield path, (value, shown)
        return
    for item, (key, item_shown) in zip(below.values(), below_shown.items(), strict=True):
        yield from _plain_leaves((*path, key), item, item_shown)


def _by_key(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    items = value if isinstance(value, list) else []
    by_name = {item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    return by_name if by_name and len(by_name) == len(items) else None


def _names(value: object) -> Iterator[tuple[str, str]]:
    """The kind and name of every thing in NATS and Kubernetes that a part of a plan names."""
    if isinstance(value, tuple):
        for item in value:
            yield from _names(item)
    elif is_dataclass(value):
        for field in fields(value):
            found, kind = getattr(value, field.name), _name_type(field)
            if kind is None:
                yield from _names(found)
            elif kind in _KINDS and found is not None:
                yield _KINDS[kind], found


def _no_names(value: Any) -> Iterator[Field[Any]]:
    return (field for field in fields(value) if _name_type(field) is None)


def _name_type(field: Field[Any]) -> str | None:
    """``Bucket`` of a field that is declared as ``Bucket | None``; None where it holds no name."""
    found = _FIRST_WORD.match(str(field.type))
    return found[0] if found and found[0] in _NAME_TYPES else None


def _name_changes(old: set[tuple[str, str]], new: set[tuple[str, str]]) -> Iterator[NameChange]:
    for kind, name in sorted(old ^ new):
        yield NameChange("removed" if (kind, name) in old else "added", kind, name)


def _edges(workflow: Workflow | None, renamed: Mapping[str | None, str | None]) -> dict[_Edge, None]:
    """In their order, by the names that the processes have now."""
    found: dict[_Edge, None] = {}
    for process in workflow.processes if workflow else ():
        heard = [(feed.text, False) for feed in process.feeds] + [(text, True) for text in process.replies]
        for text, reply in heard:
            name, dot, channel = text.partition(".")
            subscription = f"{renamed.get(name) or name}{dot}{channel}"
            found[renamed.get(process.name) or process.name, subscription, reply] = None
    return found


def _edge_changes(old: Collection[_Edge], new: Collection[_Edge]) -> Iterator[EdgeChange]:
    yield from (EdgeChange("added", *edge) for edge in new if edge not in old)
    yield from (EdgeChange("removed", *edge) for edge in old if edge not in new)
