"""The last restart of a long-lived process that a bridge asked for, as its Deployment says. Pure.

As ``kubectl rollout restart`` does it: an annotation of the pods' template, so that they roll over. What stands in the
Deployment's own annotations beside it rolls nothing over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kai_airflow.kube.objects import Manifest

RESTARTED = "kai-airflow/restarted"
HELPED = "kai-airflow/restart-helped"  # with the moment of the restart that did


@dataclass(frozen=True)
class Restart:
    """``asked``: the moment, in ISO 8601; empty where there was none. ``has_helped``: somebody listened since."""

    asked: str = ""
    has_helped: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Restart:
        """Read it back from a Deployment."""
        if found is None:
            return cls()
        asked = _annotations(found["spec"]["template"]).get(RESTARTED, "")
        return cls(asked, bool(asked) and _annotations(found).get(HELPED) == asked)

    @classmethod
    def now(cls) -> Restart:
        """One that is asked for."""
        return cls(datetime.now(UTC).isoformat())

    def helped(self) -> Restart:
        """The same, after which somebody listened."""
        return replace(self, has_helped=True)

    def is_within(self, past: timedelta) -> bool:
        """Whether it was asked for since; false where it says no moment that can be read."""
        try:
            return datetime.now(UTC) - datetime.fromisoformat(self.asked) < past
        except (ValueError, TypeError):  # a person's own text, or one without a time zone
            return False

    def on(self, deployment: Manifest) -> Manifest:
        """A Deployment's manifest that says so."""
        if not self.asked:
            return deployment
        spec = deployment["spec"]
        made = {**deployment, "spec": {**spec, "template": _noted(spec["template"], RESTARTED, self.asked)}}
        return _noted(made, HELPED, self.asked) if self.has_helped else made


def _annotations(found: Mapping[str, Any]) -> Mapping[str, str]:
    return (found.get("metadata") or {}).get("annotations") or {}


def _noted(manifest: Manifest, key: str, text: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": {**_annotations(manifest), key: text}}}
