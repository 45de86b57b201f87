"""Who manages which fields: server-side apply, and how other writes count. Pure: objects in, objects out.

As on a cluster, `metadata.managedFields` holds an entry for each manager that applies (Apply) or writes otherwise
(Update). Who applies owns what it says; a field that it owned alone and no longer says is taken away. The status is
the server's own, and isn't told of.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kai_airflow.local.kubernetes import fields
from kai_airflow.local.kubernetes.errors import ApiError, Object
from kai_airflow.local.kubernetes.fields import Path
from kai_airflow.local.kubernetes.metadata import rfc3339

APPLY, UPDATE = "Apply", "Update"


class Who(NamedTuple):
    """A manager, and how it writes."""

    manager: str
    operation: str


Owners = dict[Who, frozenset[Path]]


@dataclass(frozen=True)
class Applier:
    """Who applies, and whether it takes fields from others."""

    manager: str
    force: bool


def applied(old: Object, said: Object, applier: Applier) -> Object:
    """`old` with what a manager says now. Raises ApiError 409 where others own a field and want it otherwise."""
    me, owners = Who(applier.manager, APPLY), _owners(old)
    mine, now = fields.owned(said), fields.owned(old)
    others = {who: theirs for who, theirs in owners.items() if who != me}
    wanted = {path for path, value in mine.items() if path in now and now[path] != value}
    taken = {who: theirs & wanted for who, theirs in others.items() if theirs & wanted}
    if taken and not applier.force:
        raise _conflict(said, taken)
    gone = _gone(owners.get(me, frozenset()) - mine.keys(), frozenset().union(*others.values()))
    new = fields.merged(fields.without(old, gone), said)
    left = {who: theirs - taken.get(who, frozenset()) for who, theirs in others.items()}
    return _managed(new, old, {**left, me: frozenset(mine)})


def updated(old: Object | None, new: Object, manager: str) -> Object:
    """`new`, a write of another kind than apply: what it changed is the manager's now."""
    me, owners = Who(manager, UPDATE), _owners(old or {"metadata": {}})
    before, after = fields.owned(old) if old else {}, fields.owned(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    left = {who: (theirs - changed) & after.keys() for who, theirs in owners.items()}
    return _managed(new, old, {**left, me: left.get(me, frozenset()) | changed})


def _gone(dropped: Iterable[Path], others: frozenset[Path]) -> set[Path]:
    """Of the fields that a manager dropped, those that nobody else owns.

    An element of a list stays whole in its keys as long as others own a part of it.
    """
    mine = set(dropped) - others
    items = {path for path in mine if path[-1].startswith("k:")}
    kept = {item for item in items if any(path[: len(item)] == item for path in others)}
    return {path for path in mine - kept if not (path[:-1] in kept and _is_key(path))}


def _is_key(path: Path) -> bool:
    return path[-1].removeprefix("f:") in json.loads(path[-2].removeprefix("k:"))


def _owners(obj: Object) -> Owners:
    entries = obj["metadata"].get("managedFields", ())
    return {Who(entry["manager"], entry["operation"]): frozenset(fields.paths(entry["fieldsV1"])) for entry in entries}


def _managed(new: Object, old: Object | None, owners: Owners) -> Object:
    """The object with its managedFields; an entry that is as before keeps its time."""
    before = {Who(entry["manager"], entry["operation"]): entry for entry in _entries(old)}
    entries = []
    for who, paths in owners.items():
        found = {"apiVersion": new["apiVersion"], "fieldsType": "FieldsV1", "fieldsV1": fields.tree(paths)}
        entry = {**who._asdict(), **found, "time": rfc3339()}
        same = who in before and {**before[who], "time": ""} == {**entry, "time": ""}
        entries.append(before[who] if same else entry)
    kept = [entry for entry in entries if entry["fieldsV1"]]
    return {**new, "metadata": {**new["metadata"], "managedFields": kept}}


def _entries(obj: Object | None) -> list[Object]:
    return list(obj["metadata"].get("managedFields", ())) if obj else []


def _conflict(said: Object, taken: Mapping[Who, Iterable[Path]]) -> ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "field": fields.shown(path), "message": f'conflict with "{who.manager}"'}
        for who, paths in taken.items()
        for path in sorted(paths)
    ]
    texts = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    name = {"name": said["metadata"]["name"], "kind": said["kind"]}
    return ApiError(409, "Conflict", f"Apply failed with {count}: {texts}", {**name, "causes": causes})
