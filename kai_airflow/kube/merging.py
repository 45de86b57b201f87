"""How a pod template is merged under what a KRT says: as Kubernetes merges objects in a strategic merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEYS = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists that are maps at heart, and what tells their entries apart."""
_ONE_OF = frozenset({"env", "volumeMounts", "volumes"})
"""Those whose entries are one of several kinds: of two with one name, what is said is all there is."""


def merged(template: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and ``said`` where they differ. Of lists its entries come first, and the template's others after them."""
    return {
        **{key: value for key, value in template.items() if key not in said},
        **{key: _merged(key, template[key], value) if key in template else value for key, value in said.items()},
    }


def _merged(key: str, template: Any, said: Any) -> Any:
    if isinstance(said, dict) and isinstance(template, dict):
        return merged(template, said)
    if isinstance(said, list) and isinstance(template, list):
        return _merged_lists(template, said, key)
    return said


def _merged_lists(template: Sequence[Any], said: Sequence[Any], name: str) -> list[Any]:
    key = _KEYS.get(name)
    if key is None:
        return [*said, *(entry for entry in template if entry not in said)]
    others = {_identity(entry, key): entry for entry in template}
    known = [others.pop(_identity(entry, key), {}) for entry in said]
    first = said if name in _ONE_OF else [merged(under, entry) for under, entry in zip(known, said, strict=True)]
    return [*first, *others.values()]


def _identity(entry: Any, key: str | None) -> Any:
    """What an entry is known by; one without a name is like no other."""
    name = entry.get(key) if isinstance(entry, dict) else None
    return name if isinstance(name, str | int) else id(entry)
