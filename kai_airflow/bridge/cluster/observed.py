"""What there is in the cluster of a site's own, as far as it is watched."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.cluster.client import AUTOSCALERS, DEPLOYMENTS, INGRESSES, PODS, SECRETS, SERVICES
from kai_airflow.bridge.cluster.informer import Informer
from kai_airflow.bridge.live.handover import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.kube.objects import Manifest

# In the order in which what isn't wanted is deleted: pods that go on until they are told to need their Secret.
KEPT = (AUTOSCALERS, DEPLOYMENTS, SERVICES, SECRETS)
WATCHED = (*KEPT, INGRESSES, PODS)


@dataclass
class Observed:
    """The objects of a site, in the namespaces that are followed."""

    kubernetes: Kubernetes
    selector: str
    changed: Callable[[Kind, Manifest | None, Manifest | None], None]
    _informers: dict[str, dict[Kind, Informer]] = field(default_factory=dict)

    @property
    def namespaces(self) -> frozenset[str]:
        """Those that are followed."""
        return frozenset(self._informers)

    async def follow(self, namespace: str, entered: Callable[[str], None]) -> None:
        """Follow a namespace until cancelled; ``entered`` is called when all that is there is known."""
        informers = {kind: Informer(self.kubernetes, kind, namespace, self.selector, self.changed) for kind in WATCHED}
        self._informers[namespace] = informers
        try:
            async with asyncio.TaskGroup() as all_of_them:
                for informer in informers.values():
                    all_of_them.create_task(informer.follow())
                for informer in informers.values():
                    await informer.synced.wait()
                entered(namespace)
        finally:
            del self._informers[namespace]

    def is_known(self, namespace: str) -> bool:
        """Whether all that is in a namespace is known."""
        informers = self._informers.get(namespace)
        return informers is not None and all(one.synced.is_set() for one in informers.values())

    def is_empty(self, namespace: str) -> bool:
        """Whether nothing of the site is in a namespace, as far as is known."""
        return self.is_known(namespace) and not any(one.objects for one in self._informers[namespace].values())

    def get(self, kind: Kind, place: Place) -> Manifest | None:
        """An object."""
        informer = self._informers.get(place.namespace, {}).get(kind)
        return informer.objects.get(place.name) if informer else None

    def all(self, kind: Kind) -> Iterator[tuple[Place, Manifest]]:
        """All objects of a kind."""
        for namespace, informers in self._informers.items():
            for name, found in informers[kind].objects.items():
                yield Place(namespace, name), found

    def places(self) -> set[Place]:
        """Where there is anything but a pod."""
        return {place for kind in (*KEPT, INGRESSES) for place, _ in self.all(kind)}

    def troubles(self) -> Mapping[str, str]:
        """Why nobody can tell what there is, by namespace."""
        found = {namespace: {one.trouble: None for one in by.values()} for namespace, by in self._informers.items()}
        return {namespace: " ".join(filter(None, said)) for namespace, said in found.items() if any(said)}
