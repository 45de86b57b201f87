"""A plan as objects, lists and scalars: what JSON holds, for people and programs to look at.

Moments are ``{"time": ISO 8601, "timezone": name}``, since an offset alone doesn't tell what a schedule follows in
summer; intervals are ``@every 5400s``, as KAI's cronjob-trigger has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kai_airflow.krt.sensitive import MASK, is_sensitive, shown

_REFERENCES = frozenset(
    {"imagePullSecrets", "nodePublishSecretRef", "secret", "secretKeyRef", "secretRef", "serviceAccountToken"}
)
"""Keys of Kubernetes' own that look sensitive, and hold maps or lists with names of Secrets instead of secrets."""
_SECRET_NAME = "secretName"  # noqa: S105 - one that holds a name
_PROSE = frozenset({"description"})
"""Fields that hold whatever somebody wrote. Others are names and such: ``auth-service:v1`` is no assignment."""


def plain(value: object) -> Any:
    """All of it, secrets included: not to be shown."""
    if isinstance(value, datetime):
        return {"time": value.isoformat(), "timezone": zone(value)}
    if isinstance(value, timedelta):
        return f"@every {value.total_seconds():.0f}s"
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def masked(value: object) -> Any:
    """The same without secrets. Its mappings are the KRT's own: configuration and pod templates.

    A masked list or map is a text.
    """
    if dataclasses.is_dataclass(value):
        return {field.name: masked_field(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        secret = _secret_keys(value)
        return {key: MASK if key in secret else _within(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [masked(item) for item in value]
    return plain(value)


def masked_field(name: str, value: object) -> Any:
    """The same of a field of a plan."""
    return shown(str(value)) if name in _PROSE else masked(value)


def zone(moment: datetime) -> str:
    """The time zone that a moment of the plan is in."""
    return str(moment.tzinfo)


def _within(value: Any) -> Any:
    """What is nested in a mapping of the KRT: only a pod template is, so here Kubernetes' own keys count."""
    if isinstance(value, Mapping):
        secret = {key for key in _secret_keys(value) if not _is_reference(key, value[key])}
        return {key: MASK if key in secret else _within(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_within(item) for item in value]
    return shown(value) if isinstance(value, str) else value


def _is_reference(key: str, value: object) -> bool:
    if isinstance(value, str):
        return key == _SECRET_NAME
    return key in _REFERENCES or isinstance(value, bool)


def _secret_keys(value: Mapping[str, Any]) -> set[str]:
    """The keys of what looks like a secret; ``{name: DB_PASSWORD, value: ...}`` is how Kubernetes has environments."""
    found = {key for key in value if is_sensitive(key)}
    named = any(isinstance(name := value.get(key), str) and is_sensitive(name) for key in ("name", "key"))
    return found | ({"value"} & value.keys()) if named else found
