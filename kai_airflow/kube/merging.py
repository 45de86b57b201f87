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
        return _merged_lists(template, said, _KEYS.get(key))
    return said


def _merged_lists(template: Sequence[Any], said: Sequence[Any], key: str | None) -> list[Any]:
    others = {_identity(entry, key): entry for entry in template} if key else {}
    first = [merged(others.pop(_identity(e, key), {}), e) if isinstance(e, dict) and key else e for e in said]
    return [*first, *(others.values() if key else (entry for entry in template if entry not in said))]


def _identity(entry: Any, key: str | None) -> Any:
    """What an entry is known by; one without a name is like no other."""
    name = entry.get(key) if isinstance(entry, dict) else None
    return name if isinstance(name, str | int) else id(entry)
