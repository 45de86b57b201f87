"""The fields of an object, one by one: their paths, as `metadata.managedFields` writes them (FieldsV1).

A path is a tuple of steps: `f:NAME` into a map, `k:{"name":"x"}` to the element of a list that has this key. What is
one field though it is a map or list, and which lists have keys, stands in the API's types (structType, mapType,
listMapKey); here a field's name tells.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from kai_airflow.local.kubernetes.errors import Object, bad_request

Path = tuple[str, ...]

ATOMIC = frozenset(
    {
        "configMapKeyRef",
        "fieldRef",
        "labelSelector",
        "namespaceSelector",
        "nodeSelector",
        "resource",
        "resourceFieldRef",
        "scaleTargetRef",
        "secretKeyRef",
        "selector",
    }
)
"""Maps that are one field."""

KEYS = {
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),  # of a container, of a Service
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""Lists whose elements are fields of their own, and by what elements are told apart. Other lists are one field."""

_DEFAULTS = {"protocol": "TCP"}
_ABSENT = object()
_CLIENTS = ("labels", "annotations", "ownerReferences")
_NOT_OWNED = frozenset({"apiVersion", "kind", "metadata", "status"})


def owned(obj: Object) -> dict[Path, Any]:
    """All fields that a manager may own, and their values: not the status, nor what the server says in metadata."""
    metadata = {name: obj["metadata"][name] for name in _CLIENTS if name in obj["metadata"]}
    rest = {name: part for name, part in obj.items() if name not in _NOT_OWNED}
    return dict(_leaves({**rest, **({"metadata": metadata} if metadata else {})}))


def _leaves(value: Any, path: Path = (), name: str = "") -> Iterator[tuple[Path, Any]]:
    if _is_map(value, name) and (value or not path):
        for key, part in value.items():
            yield from _leaves(part, (*path, f"f:{key}"), key)
    elif _is_keyed(value, name) and value:
        for step, element in elements(name, value).items():
            yield (*path, step), None  # that it is there
            yield from _leaves(element, (*path, step))
    else:
        yield path, value


def _is_map(value: Any, name: str) -> bool:
    return isinstance(value, dict) and name not in ATOMIC


def _is_keyed(value: Any, name: str) -> bool:
    return isinstance(value, list) and name in KEYS


def elements(name: str, values: list[Any]) -> dict[str, Any]:
    """The elements of a list with keys, by their steps. Raises ApiError 400 for one without its key, or two alike."""
    found: dict[str, Any] = {}
    for element in values:
        step = _step(name, element)
        if step in found:
            raise bad_request(f"two elements of {name} have the key {step.removeprefix('k:')}")
        found[step] = element
    return found


def _step(name: str, element: Any) -> str:
    known = {**_DEFAULTS, **element} if isinstance(element, dict) else {}
    keys = {key: known[key] for key in KEYS[name] if key in known}
    if not keys.keys() - _DEFAULTS.keys():
        raise bad_request(f"each element of {name} needs its {KEYS[name][0]}")
    return f"k:{json.dumps(keys, sort_keys=True, separators=(',', ':'))}"


def without(value: Any, gone: Iterable[Path]) -> Any:
    """The object without these fields, and without the maps that this leaves empty."""
    return _without(value, frozenset(gone), (), "")


def _without(value: Any, gone: frozenset[Path], path: Path, name: str) -> Any:
    if path in gone:
        return _ABSENT
    if _is_map(value, name):
        parts = {key: _without(part, gone, (*path, f"f:{key}"), key) for key, part in value.items()}
        left: Any = {key: part for key, part in parts.items() if part is not _ABSENT}
    elif _is_keyed(value, name):
        parts = {step: _without(part, gone, (*path, step), "") for step, part in elements(name, value).items()}
        left = [part for part in parts.values() if part is not _ABSENT]
    else:
        return value
    return left if left or not value else _ABSENT


def merged(old: Any, new: Any, name: str = "") -> Any:
    """`old` with the fields of `new`. Elements of lists with keys come in the order of `new`, then of `old`."""
    if _is_map(old, name) and _is_map(new, name):
        return {**old, **{key: merged(old.get(key), part, key) for key, part in new.items()}}
    if _is_keyed(old, name) and _is_keyed(new, name):
        before, after = elements(name, old), elements(name, new)
        rest = [part for step, part in before.items() if step not in after]
        return [*(merged(before.get(step), part) for step, part in after.items()), *rest]
    return new


def tree(paths: Iterable[Path]) -> Object:
    """The paths as a FieldsV1: nested maps, in which `.` stands for a path that others go on from."""
    root: Object = {}
    ends = sorted(paths)
    for path in ends:
        _node(root, path)
    for path in ends:
        if below := _node(root, path):
            below["."] = {}
    return root


def _node(root: Object, path: Path) -> Object:
    for step in path:
        root = root.setdefault(step, {})
    return root


def paths(found: Object, path: Path = ()) -> Iterator[Path]:
    """The paths of a FieldsV1."""
    for step, below in found.items():
        if step == ".":
            yield path
        elif below:
            yield from paths(below, (*path, step))
        else:
            yield (*path, step)


def shown(path: Path) -> str:
    """A path as messages show it: `.spec.replicas`, `.spec.ports[port=80,protocol="TCP"]`."""
    return "".join(_shown(step) for step in path)


def _shown(step: str) -> str:
    kind, _, rest = step.partition(":")
    if kind == "f":
        return f".{rest}"
    return "[{}]".format(",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()))
