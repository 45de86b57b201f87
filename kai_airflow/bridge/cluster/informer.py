"""What objects there are: listed once, and followed by a watch for as long as it is wanted."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.cluster.client import ClusterError, Listed, OutdatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.kube.objects import Manifest

log = logging.getLogger(__name__)

# Seconds of one watch. A connection that is dead though it looks healthy is found out at the end of it.
WATCH = 20
PAUSES = (0.2, 1.0, 2.0, 5.0)  # seconds before what failed is tried again


@dataclass
class Informer:
    """The objects of one kind in one namespace that a label selector selects, by name.

    ``changed`` is called with what an object was and is; None where it wasn't or isn't there. ``trouble``: why nobody
    can tell just now.
    """

    kubernetes: Kubernetes
    kind: Kind
    namespace: str
    selector: str
    changed: Callable[[Kind, Manifest | None, Manifest | None], None]
    objects: dict[str, Manifest] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = ""
    _version: str = ""
    _told: int | None = None

    async def follow(self) -> None:
        """Go on until cancelled; what fails is tried again."""
        pauses = iter(PAUSES)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._go_on()
                self._is_well()
                pauses = iter(PAUSES)
            except OutdatedError:
                self._version = ""
            except ClusterError as error:
                if error.status:  # an answer: what was known of versions may be of another server
                    self._version = ""
                self._complain(error)
            # A server that ends each watch at once is no reason to ask it all the time.
            if asyncio.get_running_loop().time() - began < 1:
                await asyncio.sleep(next(pauses, PAUSES[-1]))

    async def _go_on(self) -> None:
        if not self._version:
            self._take(await self.kubernetes.list(self.kind, self.namespace, self.selector))
        watch = self.kubernetes.watch(self.kind, self.namespace, self.selector, self._version, WATCH)
        async with aclosing(watch) as watched:
            async for what, found in watched:
                self._version = found["metadata"]["resourceVersion"]
                if what != "BOOKMARK":
                    self._become(found["metadata"]["name"], None if what == "DELETED" else found)

    def _take(self, listed: Listed) -> None:
        found = {one["metadata"]["name"]: one for one in listed.items}
        for name in self.objects.keys() - found.keys():
            self._become(name, None)
        for name, one in found.items():
            self._become(name, one)
        self._version = listed.version
        self._is_well()
        self.synced.set()

    def _become(self, name: str, now: Manifest | None) -> None:
        before = self.objects.pop(name, None)
        if now is not None:
            now["metadata"].pop("managedFields", None)
            self.objects[name] = now
        if before != now:
            self.changed(self.kind, before, now)

    def _is_well(self) -> None:
        self.trouble, self._told = "", None

    def _complain(self, error: ClusterError) -> None:
        """Once for each kind of trouble: a connection breaks off in many words."""
        if error.status != self._told:
            log.warning("%s", error)
        self.trouble, self._told = str(error), error.status
