"""A Lease, held by the one bridge of several that acts on the cluster."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kai_airflow.bridge.cluster.client import LEASES, ClusterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.kube.objects import Manifest

log = logging.getLogger(__name__)

DURATION = 15  # seconds for which nobody else takes it
RENEW = 5.0  # seconds between renewals
SURE = 10.0  # seconds after a renewal in which its holder may act
LOOK = 2.0  # seconds between the looks of who waits, and of who couldn't renew
HANDOVER = 2.0  # seconds that handing it over may take at the end


class LeaseLostError(ClusterError):
    """This bridge may not act any more: another one does, or soon will."""

    def __init__(self, lease: str) -> None:
        super().__init__(0, f"Kubernetes: Lease {lease} is lost, and no more is done until it is had again.")


def identity() -> str:
    """A name for one holder, unlike any other."""
    return f"{socket.gethostname()}-{uuid.uuid4()}"


@dataclass
class Lease:
    """Takes, renews and hands over one Lease.

    Whether another's has run out is judged by how long this process has seen no renewal, and never by the times that
    are written in it: clocks differ. ``notes`` are its annotations, kept for whoever holds it next.
    """

    kubernetes: Kubernetes
    namespace: str
    name: str
    labels: Mapping[str, str]
    holder: str = field(default_factory=identity)
    notes: dict[str, str] = field(default_factory=dict)
    predecessor: datetime | None = None
    """When the holder before this one renewed it last, by its clock; None where there was none."""
    _found: Manifest = field(default_factory=dict)
    _renewed: float = float("-inf")
    _noting: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def require(self) -> None:
        """Raise LeaseLostError where this bridge may not act now; to be asked before each act."""
        if time.monotonic() - self._renewed > SURE:
            raise LeaseLostError(f"{self.namespace}/{self.name}")

    def note(self, key: str, text: str) -> None:
        """Write something down in it, with the next renewal, which is soon."""
        if self.notes.get(key, "") != text:
            self.notes[key] = text
            self._noting.set()

    async def noted(self, key: str, text: str) -> None:
        """Write something down in it, at once. Raises ClusterError."""
        if self.notes.get(key, "") != text:
            self.notes[key] = text
            await self._write(self.holder)

    async def work(self, act: Callable[[], Awaitable[None]]) -> None:
        """Wait until it is ours, and act until that ends.

        :raises LeaseLostError: it isn't ours any more; ``act`` was cancelled
        :raises ClusterError: Kubernetes refuses, or isn't there
        """
        await self._acquire()
        log.info("holding Lease %s/%s", self.namespace, self.name)
        try:
            async with asyncio.TaskGroup() as both:
                renewing = both.create_task(self._renew())
                await act()
                renewing.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._hand_over()

    async def _acquire(self) -> None:
        seen, since = "", 0.0
        while True:
            found = await self.kubernetes.get(LEASES, self.namespace, self.name)
            version = found["metadata"]["resourceVersion"] if found else ""
            if version != seen:
                seen, since = version, time.monotonic()
            if not found or _is_free(found) or time.monotonic() - since > _duration(found):
                try:
                    return await self._take(found)
                except ClusterError as error:
                    if error.status != HTTPStatus.CONFLICT:
                        raise
            else:
                await asyncio.sleep(LOOK)

    async def _take(self, found: Manifest | None) -> None:
        self._found = found or {}
        self.notes = dict(self._found.get("metadata", {}).get("annotations") or {})
        self.predecessor = _moment(self._found.get("spec", {}).get("renewTime"))
        await self._write(self.holder)

    async def _renew(self) -> None:
        """Renew it until it is lost, and raise LeaseLostError then."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW):
                    await self._noting.wait()
            self._noting.clear()
            await self._renew_in_time()

    async def _renew_in_time(self) -> None:
        while True:
            self.require()
            try:
                async with asyncio.timeout(SURE - (time.monotonic() - self._renewed)):
                    return await self._write(self.holder)
            except TimeoutError:
                continue
            except ClusterError as error:
                if error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                    await self._recognize()
                else:
                    log.warning("%s", error)
                    await asyncio.sleep(LOOK / 2)

    async def _recognize(self) -> None:
        """It isn't what it was: another's, gone, or still ours, where a person has set a label."""
        with suppress(ClusterError):
            found = await self.kubernetes.get(LEASES, self.namespace, self.name)
            if found and found["spec"].get("holderIdentity") == self.holder:
                self._found = found
            else:
                self._renewed = float("-inf")

    async def _hand_over(self) -> None:
        """Let another take it at once; where that fails, it runs out by itself."""
        if time.monotonic() - self._renewed > SURE:
            return
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(HANDOVER):
                await self._write("")
        self._renewed = float("-inf")

    async def _write(self, holder: str) -> None:
        async with self._writing:
            began = time.monotonic()
            manifest = self._manifest(holder)
            if self._found:
                self._found = await self.kubernetes.replace(LEASES, self.namespace, manifest)
            else:
                self._found = await self.kubernetes.create(LEASES, self.namespace, manifest)
            self._renewed = began

    def _manifest(self, holder: str) -> Manifest:
        old, now = self._found.get("spec", {}), datetime.now(UTC).isoformat(timespec="microseconds")
        now = now.replace("+00:00", "Z")
        moved = old.get("holderIdentity") != holder
        notes = {key: text for key, text in self.notes.items() if text}
        meta: dict[str, Any] = {"name": self.name, "labels": dict(self.labels), "annotations": notes}
        if self._found:
            meta["resourceVersion"] = self._found["metadata"]["resourceVersion"]
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION,
            "acquireTime": now if moved else old["acquireTime"],
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + bool(moved and holder and old),
        }
        return {"apiVersion": LEASES.api, "kind": LEASES.name, "metadata": meta, "spec": spec}


def _is_free(found: Manifest) -> bool:
    return not (found.get("spec") or {}).get("holderIdentity")


def _duration(found: Manifest) -> float:
    return float((found.get("spec") or {}).get("leaseDurationSeconds") or DURATION)


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
