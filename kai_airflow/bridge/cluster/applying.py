"""Has objects of the cluster say what they should, and deletes them; asks nothing where nothing has changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kai_airflow.bridge.cluster.client import ClusterError
from kai_airflow.kube.found import is_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.bridge.cluster.observed import Observed
    from kai_airflow.bridge.live.handover import Place
    from kai_airflow.kube.objects import Manifest


class ForeignError(ClusterError):
    """An object that isn't this site's has the name of one that is."""

    def __init__(self, kind: Kind, place: Place) -> None:
        where = f"{place.namespace}/{place.name}"
        super().__init__(
            0,
            f"{kind.name} {where} is there already, without the labels of this Airflow's own, and is left alone. "
            "Remedy: rename or delete it, or choose another namespace (x-airflow.namespace).",
        )


@dataclass
class Applier:
    """Remembers what was applied and what the cluster made of it: what is observed to be the same needs nothing.

    ``require``: raises where this bridge may not act any more.
    """

    kubernetes: Kubernetes
    observed: Observed
    label: str
    require: Callable[[], None]
    _applied: dict[tuple[Kind, Place], tuple[str, str]] = field(default_factory=dict)

    async def apply_or_delete(self, kind: Kind, place: Place, manifest: Manifest | None) -> None:
        """Apply a manifest, or see that nothing is there where there is none. Raises ClusterError."""
        if manifest is not None:
            await self.apply(kind, place, manifest)
        elif found := self.observed.get(kind, place):
            await self.delete(kind, found)

    def is_right(self, kind: Kind, place: Place, manifest: Manifest) -> bool:
        """Whether an object still is what it was when this very manifest was applied."""
        found = self.observed.get(kind, place)
        if found is not None and found["metadata"].get("deletionTimestamp"):
            return True  # made anew once it is gone
        return self._applied.get((kind, place)) == (_digest(manifest), _digest(essential(found)))

    async def apply(self, kind: Kind, place: Place, manifest: Manifest) -> None:
        """Apply a manifest where the object isn't right.

        :raises ForeignError: an object of that name isn't this site's
        :raises ClusterError: Kubernetes refuses, or isn't there; or another bridge may act now
        """
        if self.is_right(kind, place, manifest):
            return
        if self.observed.get(kind, place) is None:
            found = await self.kubernetes.get(kind, *place)
            if found is not None and not is_of(found, self.label):
                raise ForeignError(kind, place)
        self.require()
        answer = await self.kubernetes.apply(manifest, place.namespace)
        self._applied[kind, place] = (_digest(manifest), _digest(essential(answer)))

    async def correct(self, kind: Kind, place: Place, manifest: Manifest) -> None:
        """Apply a manifest to what is observed, and to nothing else: what somebody deletes stays away."""
        found = self.observed.get(kind, place)
        if found is None:
            return
        that = {**manifest, "metadata": {**manifest["metadata"], "uid": found["metadata"]["uid"]}}
        try:
            await self.apply(kind, place, that)
        except ClusterError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise

    async def delete(self, kind: Kind, found: Manifest) -> None:
        """Delete that very object. Raises ClusterError."""
        if not found["metadata"].get("deletionTimestamp"):
            self.require()
            await self.kubernetes.delete(kind, found)

    def forget(self, place: Place) -> None:
        """Nothing is there any more."""
        self._applied = {key: known for key, known in self._applied.items() if key[1] != place}


def essential(found: Manifest | None) -> dict[str, Any] | None:
    """What somebody said of an object, without what the cluster says."""
    if found is None:
        return None
    meta = found["metadata"]
    said = {key: value for key, value in found.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return {**said, **{key: meta.get(key) or {} for key in ("labels", "annotations", "deletionTimestamp")}}


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
