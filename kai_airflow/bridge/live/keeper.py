"""Keeps long-lived processes in Kubernetes as their KRTs say: what differs is applied, what isn't wanted goes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.cluster.applying import Applier, essential
from kai_airflow.bridge.cluster.client import (
    AUTOSCALERS,
    DEPLOYMENTS,
    INGRESSES,
    PODS,
    SECRETS,
    SERVICES,
)
from kai_airflow.bridge.cluster.observed import KEPT, Observed
from kai_airflow.bridge.cluster.workqueue import WorkQueue
from kai_airflow.bridge.live import deaf, ends, handover
from kai_airflow.bridge.live.configs import Configs
from kai_airflow.bridge.live.deaf import Deaf
from kai_airflow.bridge.live.handover import Known, Left, Place, Verdict, Wanted
from kai_airflow.bridge.live.strays import heed_losses
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import live
from kai_airflow.kube.found import dag_of, is_ready, stream_of
from kai_airflow.kube.ingress import ingress
from kai_airflow.messaging.cancelling import heed_cancel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.bridge.live.ends import Labels
    from kai_airflow.bridge.live.nats_protocol import LiveNats
    from kai_airflow.bridge.site import Site
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Workflow

log = logging.getLogger(__name__)

WORKERS = 8
GRACE = 60.0  # seconds that an old version's trigger has, once nobody calls it any more, to answer who waits
STEADY = 3.0  # seconds for which a new version must have been ready: one that crashes is, for a moment
QUIET = 2.0  # seconds for which a stream must have had nothing to do before what serves it goes
LOOK = 0.5  # seconds between two looks at such a stream
TOLD_AGAIN = 2.0  # seconds before NATS is told again of an end
UNREAD = 10.0  # seconds between two looks at what is published of a product whose KRT nobody finds


@dataclass
class Keeper:
    """One bridge at work on the cluster, while it holds the Lease. ``trouble``: what stands in the way, by place."""

    kubernetes: Kubernetes
    site: Site
    nats: LiveNats
    has_dags: Callable[[str], Awaitable[bool]]
    require_lease: Callable[[], None]
    unseen: datetime | None = None
    trouble: dict[Place, str] = field(default_factory=dict)
    _workflows: tuple[Workflow, ...] = ()
    _wanted: dict[Place, Wanted] = field(default_factory=dict)
    _streams: dict[str, str] = field(default_factory=dict)
    _active: frozenset[str] = frozenset()
    _since: dict[Place | str, float] = field(default_factory=dict)
    _turned: dict[str, float] = field(default_factory=dict)
    _queue: WorkQueue[Place] = field(default_factory=WorkQueue)
    _ended: asyncio.Queue[Labels] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.label = live.site_label(self.site.airflow.url)
        self.observed = Observed(self.kubernetes, live.selector(self.label), self._changed)
        self._configs = Configs(self.site)
        self.deaf = Deaf(self.nats)
        self._applier = Applier(self.kubernetes, self.observed, self.label, self.require_lease)

    async def work(self) -> None:
        """Look at what was added, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work_off())
                group.create_task(heed_losses(self.nats, lambda: self._wanted.values(), group))
                group.create_task(self._heed_the_deaf())
                while True:
                    group.create_task(self._tell(await self._ended.get()))
        finally:
            self._queue.close()

    def learn(self, workflows: Mapping[str, Workflow], unpaused: Mapping[str, bool]) -> None:
        """What there should be: workflows of KRTs, and unpaused DAGs with whether Airflow still finds them."""
        known = (self._workflows, self._active)
        before, self._workflows = self._wanted, tuple(workflows.values())
        self._wanted = handover.wanted(self._workflows, unpaused, self.site.cluster.namespace)
        self._streams = {one.dag_id: one.live_stream for one in self._workflows if one.dag_id in unpaused}
        self._active = frozenset(dag_id for dag_id, is_found in unpaused.items() if is_found)
        if before != self._wanted or known != (self._workflows, self._active):
            places = before.keys() | self._wanted.keys()
            self._add(place for place in places if before.get(place) != self._wanted.get(place))
            self._add(self._others())

    @property
    def namespaces(self) -> frozenset[str]:
        """Those in which something should live."""
        return frozenset(place.namespace for place in self._wanted)

    def entered(self, namespace: str) -> None:
        """All that is in a namespace is known now."""
        places = self._wanted.keys() | self.observed.places()
        self._add(place for place in places if place.namespace == namespace)
        pods = [pod for place, pod in self.observed.all(PODS) if place.namespace == namespace]
        for place, found in self.observed.all(DEPLOYMENTS):
            labels = ends.Labels.of(found)
            if place.namespace == namespace and ends.may_have_ended(pods, labels, self.unseen):
                self._ended.put_nowait(labels)

    def _add(self, places: Iterable[Place]) -> None:
        for place in places:
            self._queue.add(place)

    def _others(self) -> Iterator[Place]:
        """What isn't a process that should live: what is left of some, and Ingresses."""
        return (place for place in self.observed.places() if place not in self._wanted)

    def _changed(self, kind: Kind, before: Manifest | None, now: Manifest | None) -> None:
        found = now or before or {}
        place = Place(found["metadata"]["namespace"], found["metadata"]["name"])
        if kind is PODS:
            if ends.has_ended(before, now):
                self._ended.put_nowait(ends.Labels.of(found))
            if ends.is_told_to_end(before, now):
                asyncio.get_running_loop().call_later(ends.patience(found), self._miss, place)
            if now is None:
                self._add(self._others())
            return
        if essential(before) != essential(now):
            self._queue.add(place)
        turned = kind is DEPLOYMENTS and is_ready(before) != is_ready(now)
        if turned and place in self._wanted:
            self._turned[dag_of(found)] = asyncio.get_running_loop().time()
        if turned or kind is INGRESSES:
            self._add(self._others())

    def _miss(self, place: Place) -> None:
        """A pod that should be gone: where its node is lost, it is shown as running for as long as that is there."""
        if (found := self.observed.get(PODS, place)) and ends.is_running(found):
            self._ended.put_nowait(ends.Labels.of(found))

    async def _work_off(self) -> None:
        while True:
            heed_cancel()
            place = await self._queue.get()
            try:
                await self._look(place)
                self._queue.went_well(place)
                self.trouble.pop(place, None)
            except KaiAirflowError as error:
                self._complain(place, str(error))
                self._queue.retry(place)
            except Exception:
                log.exception("%s/%s: a defect", *place)
                self._queue.retry(place)
            finally:
                self._queue.done(place)

    def _complain(self, place: Place, trouble: str) -> None:
        if self.trouble.get(place) != trouble:
            log.warning("%s", trouble)
        self.trouble[place] = trouble

    async def _tell(self, labels: Labels) -> None:
        """Tell of an end, however long NATS is away: what was in hand would wait for hours."""
        while True:
            heed_cancel()
            try:
                self.require_lease()
                await self.nats.gone(labels._asdict(), labels.process)
                return
            except KaiAirflowError as error:
                log.warning("%s of %s has ended: %s", labels.process, labels.product, error)
                await asyncio.sleep(TOLD_AGAIN)
            except Exception:
                log.exception("%s of %s has ended: a defect", labels.process, labels.product)
                return

    async def _heed_the_deaf(self) -> None:
        while True:
            heed_cancel()
            await asyncio.sleep(deaf.LOOK)
            self._add(await self.deaf.look(self._wanted, dict(self.observed.all(DEPLOYMENTS))))

    async def _look(self, place: Place) -> None:
        if not self.observed.is_known(place.namespace):
            return  # it comes again when it is
        one = self._wanted.get(place)
        if one is not None:
            await self._keep(place, one)
        elif (found := self.observed.get(INGRESSES, place)) is not None:
            await self._keep_published(place, found)
        else:
            await self._keep_left(place)

    async def _keep(self, place: Place, one: Wanted) -> None:
        """Have all objects of a process say what its KRT says."""
        self._since.pop(place, None)
        workflow, process = one.workflow, one.process
        data, version = self._configs.of(place, one, self.observed.get(SECRETS, place))
        await self._applier.apply(SECRETS, place, live.config_secret(workflow, process, self.label, data, version))
        restart = self.deaf.restart(place, self.observed.get(DEPLOYMENTS, place))
        deployment = restart.on(live.deployment(workflow, process, self.label, version))
        if not self._applier.is_right(DEPLOYMENTS, place, deployment):
            await self.nats.prepare(workflow, process)
            if self.observed.get(DEPLOYMENTS, place) is None:  # what a former one had in hand, whose end nobody saw
                self._ended.put_nowait(ends.Labels.of(deployment))
            await self._applier.apply(DEPLOYMENTS, place, deployment)
        await self._applier.apply_or_delete(
            SERVICES, place, live.service(workflow, process, self.label) if live.has_service(process) else None
        )
        await self._applier.apply_or_delete(
            AUTOSCALERS, place, live.autoscaler(workflow, process, self.label) if process.replicas > 1 else None
        )

    async def _keep_published(self, place: Place, found: Manifest) -> None:
        """Have an Ingress lead to the version that it publishes, or to the one that took its place."""
        product, version = ends.Labels.of(found)[:2]
        workflows = [one for one in self._workflows if one.product == product]
        if not workflows and await self.has_dags(f"product:{product}"):
            self._queue.add(place, UNREAD)  # a folder that can't be read looks like one that is empty
            return
        # A product that lives in another namespace now isn't reached from here: it is to be published there.
        here = [one for one in workflows if (one.namespace or self.site.cluster.namespace) == place.namespace]
        manifest = ingress(handover.published(version, here), self.label, self.site.settings.publishing)
        if manifest is None:
            await self._applier.delete(INGRESSES, found)
        else:
            ready = {one.name for one, deployment in self.observed.all(DEPLOYMENTS) if is_ready(deployment)}
            await self._applier.correct(INGRESSES, place, handover.routed(manifest, found, ready))

    async def _keep_left(self, place: Place) -> None:
        """Delete what isn't wanted at a place, as soon as it may go."""
        found = [one for kind in KEPT if (one := self.observed.get(kind, place))]
        if not found:
            self._forget(place)
            return
        left = Left.of(found[0], self.observed.get(DEPLOYMENTS, place))
        wait = await self._wait(place, left, handover.verdict(left, self._known()))
        if wait is None:
            self._since.pop(place, None)
        elif wait > 0:
            self._queue.add(place, wait)
        else:
            log.info("%s/%s isn't wanted any more, and is deleted", *place)
            for kind in KEPT:
                if one := self.observed.get(kind, place):
                    await self._applier.delete(kind, one)

    async def _wait(self, place: Place, left: Left, verdict: Verdict) -> float | None:
        """Seconds until it may go, or until it has to be asked again; None where something else tells."""
        now = asyncio.get_running_loop().time()
        if verdict is Verdict.STAYS:
            self._since.pop(left.stream, None)
            return STEADY if left.dag_id in self._unsteady() else None
        if verdict is Verdict.GOES_IN_TIME:
            return self._since.setdefault(place, now) + GRACE - now
        if verdict is Verdict.GOES_WHEN_IDLE:
            if not await self.nats.idle(left.stream):
                self._since.pop(left.stream, None)
                return LOOK
            return LOOK if now - self._since.setdefault(left.stream, now) < QUIET else 0.0
        return 0.0

    def _known(self) -> Known:
        deployments = dict(self.observed.all(DEPLOYMENTS))
        pods = (pod for _, pod in self.observed.all(PODS))
        triggers = (one for one in (*deployments.values(), *pods) if ends.Labels.of(one).type == "trigger")
        return Known(
            streams=self._streams,
            active=self._active,
            ready=handover.ready_dags(self._streams, self._wanted, deployments) - self._unsteady(),
            routed=handover.routed_to(one for _, one in self.observed.all(INGRESSES)),
            triggers=frozenset(map(stream_of, triggers)),
        )

    def _unsteady(self) -> frozenset[str]:
        """The DAGs of which a process became ready, or ceased to be, a moment ago."""
        moment = asyncio.get_running_loop().time() - STEADY
        self._turned = {dag_id: when for dag_id, when in self._turned.items() if when > moment}
        return frozenset(self._turned)

    def _forget(self, place: Place) -> None:
        self._configs.forget(place)
        self.deaf.forget(place)
        self._since.pop(place, None)
        self._applier.forget(place)
