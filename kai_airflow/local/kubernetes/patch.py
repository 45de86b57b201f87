"""Merge patches (RFC 7386) and Kubernetes' strategic merge patches. Both are pure: old, patch -> new.

Server-side apply is another module's (managers.py); JSON patches aren't implemented.
"""

from collections.abc import Callable
from typing import Any

from kai_airflow.local.kubernetes.errors import ApiError, Object, bad_request, not_implemented

MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",  # of a Service: port
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists whose elements a strategic merge patch merges by a key. Source: patchMergeKey in the API's core/v1 types."""


def merge(old: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null takes away, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merge(new.get(name), value)
    return new


def strategic(old: Any, patch: Any) -> Any:
    """Like `merge`, but lists with a merge key are merged too; `$patch: delete` and `replace` are heeded.

    Raises ApiError 400 for an element without its merge key, 501 for other directives.
    """
    if not isinstance(patch, dict):
        return patch
    directive, patch = _directive(patch)
    new = dict(old) if isinstance(old, dict) and directive == "merge" else {}
    if directive == "delete":
        return new
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, list) and name in MERGE_KEYS:
            new[name] = _merge_lists(new.get(name) or [], value, name)
        else:
            new[name] = strategic(new.get(name), value)
    return new


def _directive(patch: Object) -> tuple[str, Object]:
    directive = patch.get("$patch", "merge")
    rest = {name: value for name, value in patch.items() if name != "$patch"}
    # Orders that clients add to keep a list's order; the order of the old list, then of the new elements, is ours.
    rest = {name: value for name, value in rest.items() if not name.startswith("$setElementOrder/")}
    other = [name for name in rest if name.startswith("$")]
    if other or directive not in ("merge", "replace", "delete"):
        raise not_implemented(f"the directive {other[0] if other else directive!r} of a strategic merge patch")
    return directive, rest


def _merge_lists(old: list[Any], patch: list[Any], name: str) -> list[Any]:
    merge_key = _merge_key(name, [*old, *patch])
    if {"$patch": "replace"} in patch:
        return [element for element in patch if element != {"$patch": "replace"}]
    new = {element[merge_key]: element for element in old}
    for element in patch:
        if not isinstance(element, dict) or not isinstance(element.get(merge_key), str | int):
            raise bad_request(f"each element of {name} in a strategic merge patch needs its {merge_key}")
        identity = element[merge_key]
        if element.get("$patch") == "delete":
            new.pop(identity, None)
        else:
            new[identity] = strategic(new.get(identity), element)
    return list(new.values())


def _merge_key(name: str, elements: list[Any]) -> str:
    of_service = name == "ports" and any(isinstance(one, dict) and "port" in one for one in elements)
    return "port" if of_service else MERGE_KEYS[name]


PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/merge-patch+json": merge,
    "application/strategic-merge-patch+json": strategic,
}


def patcher(content_type: str) -> Callable[[Any, Any], Any]:
    """The function for a request's Content-Type. Raises ApiError 415."""
    if content_type not in PATCHES:
        known = ", ".join(PATCHES)
        message = f"the local Kubernetes API takes patches of the types {known}, not {content_type}"
        raise ApiError(415, "UnsupportedMediaType", message)
    return PATCHES[content_type]
