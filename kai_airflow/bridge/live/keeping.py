"""The long-lived processes of a site: kept by one bridge of several, as long as there is a cluster."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.client import AirflowError
from kai_airflow.bridge.cluster.client import reaching
from kai_airflow.bridge.cluster.lease import Lease
from kai_airflow.bridge.live.keeper import Keeper
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import live

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.bridge.live.nats_protocol import LiveNats
    from kai_airflow.bridge.site import Site
    from kai_airflow.plan import Workflow

log = logging.getLogger(__name__)

TAG = "kai"
POLL = 1.0  # seconds between two questions to Airflow, at least
SHARE = 10  # times the seconds that its answer took, so that a busy Airflow is asked less often
AGAIN = 5.0  # seconds before what failed is begun anew
NAMESPACES = "kai-airflow/namespaces"
TROUBLE = "kai-airflow/trouble"
_LONGEST, _MOST = 500, 100  # characters of a trouble, and troubles, that a Lease tells of


@dataclass
class Keeping:
    """Has a Keeper work whenever this bridge holds the Lease. ``workflows``: those of the KRTs as they are now."""

    site: Site
    airflow: Airflow
    nats: LiveNats
    workflows: Callable[[], Mapping[str, Workflow]]
    _following: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _told: str = ""

    async def work(self) -> None:
        """Go on until cancelled. Whatever fails is told once, and tried again: it never stops the rest of a bridge."""
        while True:
            try:
                async with reaching(self.site.cluster) as kubernetes:
                    await self._work(kubernetes)
            except KaiAirflowError as error:
                if str(error) != self._told:
                    log.warning("long-lived processes aren't looked after: %s", error)
                self._told = str(error)
            except Exception:
                log.exception("keeping long-lived processes ended, and begins anew")
            await asyncio.sleep(AGAIN)

    async def _work(self, kubernetes: Kubernetes) -> None:
        label, cluster = live.site_label(self.site.airflow.url), self.site.cluster
        labels = {live.MANAGED_BY: live.MANAGER, live.SITE_LABEL: label}
        lease = Lease(kubernetes, cluster.namespace, live.lease_name(label), labels)
        await lease.work(lambda: self._act(kubernetes, lease))

    async def _act(self, kubernetes: Kubernetes, lease: Lease) -> None:
        self._told = ""
        keeper = Keeper(kubernetes, self.site, self.nats, self.airflow.has_dags, lease.require, lease.predecessor)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.work())
                await self._follow(keeper, lease, group)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._following.clear()

    async def _follow(self, keeper: Keeper, lease: Lease, group: asyncio.TaskGroup) -> None:
        """Tell the keeper what there should be, as Airflow and the KRTs say, until cancelled."""
        loop, before, told = asyncio.get_running_loop(), None, ""
        while True:
            began = loop.time()
            try:
                now = await self.airflow.unpaused(TAG)
                told = ""
                if before is not None:  # a DAG is paused or gone where two answers lack it
                    keeper.learn(self.workflows(), {**before, **now})
                    await self._follow_namespaces(keeper, lease, group)
                before = now
            except AirflowError as error:
                if str(error) != told:
                    log.warning("long-lived processes stay as they are: %s", error)
                told = str(error)
            lease.note(TROUBLE, _noted(keeper))
            await asyncio.sleep(max(POLL, SHARE * (loop.time() - began)))

    async def _follow_namespaces(self, keeper: Keeper, lease: Lease, group: asyncio.TaskGroup) -> None:
        """Follow those where something should live, or still does; the Lease names them for the bridge that is next."""
        needed = keeper.namespaces | {self.site.cluster.namespace}
        noted = set(filter(None, lease.notes.get(NAMESPACES, "").split(",")))
        empty = {namespace for namespace in self._following if keeper.observed.is_empty(namespace)}
        followed = needed | (noted - empty)
        await lease.noted(NAMESPACES, ",".join(sorted(followed)))
        for namespace in self._following.keys() - followed:
            self._following.pop(namespace).cancel()
        for namespace in followed - self._following.keys():
            task = group.create_task(keeper.observed.follow(namespace, keeper.entered))
            self._following[namespace] = task


def troubles(lease: Mapping[str, object]) -> dict[str, str]:
    """What stands in the way of the bridge that holds a Lease, as the API gives it: by NAMESPACE/NAME, or NAMESPACE."""
    meta = lease.get("metadata")
    notes = meta.get("annotations") if isinstance(meta, dict) else None
    try:
        said = json.loads((notes or {}).get(TROUBLE) or "{}")
    except ValueError:
        return {}
    return {str(where): str(text) for where, text in said.items()} if isinstance(said, dict) else {}


def _noted(keeper: Keeper) -> str:
    told = keeper.deaf.trouble | keeper.trouble
    said = {"/".join(place): text for place, text in told.items()} | dict(keeper.observed.troubles())
    listed = {where: text[:_LONGEST] for where, text in sorted(said.items())[:_MOST]}
    return json.dumps(listed) if listed else ""
