"""Starting, stopping, publishing a version: its DAGs are unpaused or paused, and its processes follow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kai_airflow.bridge.client import FORBIDDEN, AirflowError
from kai_airflow.bridge.cluster.client import DEPLOYMENTS, INGRESSES, LEASES, PODS
from kai_airflow.bridge.lifecycle.publishing import publish
from kai_airflow.bridge.lifecycle.status import Facts, Objects, product_status
from kai_airflow.bridge.live.causes import explained, secrets_of
from kai_airflow.bridge.live.keeping import troubles
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.found import works
from kai_airflow.kube.live import lease_name, selector, site_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.bridge.lifecycle.status import Key, ProductStatus
    from kai_airflow.bridge.site import Site
    from kai_airflow.kube import Published
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow

LOOK = 0.5  # seconds between looks: Airflow has nothing that tells of a DAG
# Seconds from an error on until it counts: a process that is faster than what it needs (a sidecar, a mount, a name) is
# started again at once, and has to run for ten seconds then; a loop of crashes is well now and then.
PATIENCE = 20.0
TAG = "kai"  # the tag of each DAG that a KRT made


class LifecycleError(KaiAirflowError):
    """A version doesn't become what it should."""


async def objects(cluster: Kubernetes, workflows: Iterable[Workflow], site: Site) -> Objects:
    """What a cluster holds of a site's workflows, why what isn't ready isn't, and what stands in a bridge's way.

    :raises ClusterError: Kubernetes doesn't answer, or refuses
    """
    listed = list(workflows)
    default, label = site.cluster.namespace, selector(site_label(site.airflow.url))
    places = sorted({workflow.namespace or default for workflow in listed})

    async def found(kind: Kind) -> list[Manifest]:
        pages = await asyncio.gather(*(cluster.list(kind, place, label) for place in places))
        return [one for page in pages for one in page.items]

    deployments, pods, ingresses, lease = await asyncio.gather(
        found(DEPLOYMENTS),
        found(PODS),
        found(INGRESSES),
        cluster.get(LEASES, default, lease_name(site_label(site.airflow.url))),
    )
    there = Objects(default, deployments, pods, ingresses, troubles=troubles(lease or {}))
    rising = [(workflow, process) for workflow in listed for process in workflow.processes]
    causes = await asyncio.gather(*(_cause(cluster, site, there, *one) for one in rising))
    return replace(there, causes=dict(one for one in causes if one))


async def _cause(
    cluster: Kubernetes, site: Site, there: Objects, workflow: Workflow, process: Process
) -> tuple[Key, str] | None:
    deployment = there.deployment(workflow, process)
    pods = there.pods_of(workflow, process)
    if deployment is None or works(deployment, pods):
        return None
    why = await explained(cluster, deployment, pods, secrets_of(workflow, site))
    return (deployment["metadata"]["namespace"], deployment["metadata"]["name"]), why


async def facts(
    airflow: Airflow, workflows: Iterable[Workflow], found: Objects | None, waiting: Mapping[str, int] | None = None
) -> Facts:
    """What there is of workflows. Raises AirflowError."""
    listed = list(workflows)
    products = {workflow.product for workflow in listed}
    dags = await airflow.dags(f"product:{products.pop()}" if len(products) == 1 else TAG)
    resting = [one.dag_id for one in listed if one.dag_id in dags and dags[one.dag_id].paused]
    known = await asyncio.gather(*(was_paused(airflow, dag_id) for dag_id in resting))
    touched = {dag_id for dag_id, was in zip(resting, known, strict=True) if was}
    return Facts(dags, touched, found, waiting or {})


async def was_paused(airflow: Airflow, dag_id: str) -> bool:
    """Whether somebody paused or unpaused a DAG; where the user may not see the audit log, most have been."""
    try:
        return await airflow.was_paused(dag_id)
    except AirflowError as error:
        if error.status == FORBIDDEN:
            return True
        raise


@dataclass(frozen=True)
class Version:
    """A version of a product."""

    workflows: Sequence[Workflow]
    airflow: Airflow
    cluster: Kubernetes
    site: Site

    @property
    def namespace(self) -> str:
        """The one that it lives in."""
        return self.workflows[0].namespace or self.site.cluster.namespace

    async def status(self) -> ProductStatus:
        """How it is now. Raises KaiAirflowError where Airflow or Kubernetes doesn't answer."""
        found = await objects(self.cluster, self.workflows, self.site)
        return product_status(self.workflows, await facts(self.airflow, self.workflows, found))

    async def start(self, note: Mapping[str, str], seen: Callable[[ProductStatus], None]) -> ProductStatus:
        """Unpause its DAGs, and wait until all its processes are ready.

        :param note: for Airflow's audit log
        :param seen: called with each status
        :raises LifecycleError: a process can't start; with the cause
        """
        loop, failed = asyncio.get_running_loop(), None
        while True:
            status = await self.status()
            seen(status)
            for workflow in status.workflows:
                if workflow.paused:
                    await self.airflow.pause(workflow.dag_id, note, paused=False)
            if status.state == "ERROR":
                failed = failed or loop.time()
            may_judge = failed is None or loop.time() - failed > PATIENCE
            if may_judge and all(workflow.paused is False for workflow in status.workflows):
                if status.state == "ERROR":
                    raise LifecycleError(f"{status.product} {status.version} can't start: {status.cause}")
                if status.state in ("STARTED", "PUBLISHED"):
                    return status
                failed = None
            await asyncio.sleep(LOOK)

    async def stop(self, note: Mapping[str, str], seen: Callable[[ProductStatus], None]) -> ProductStatus:
        """Pause its DAGs, and wait until none of its processes is there.

        :raises LifecycleError: it is published
        """
        while True:
            status = await self.status()
            seen(status)
            if status.published:
                raise LifecycleError(
                    f"{status.product} {status.version} is published. Remedy: kai-airflow unpublish {status.product}."
                )
            for workflow in status.workflows:
                if workflow.paused is False:
                    await self.airflow.pause(workflow.dag_id, note, paused=True)
            if status.state in ("STOPPED", "CREATED"):
                return status
            await asyncio.sleep(LOOK)

    async def publish(self, note: Mapping[str, str], *, force: bool = False) -> tuple[Published, ...]:
        """Make its triggers reachable; again, where they are.

        :param note: for Airflow's audit log
        :param force: take the place of another version that is published
        :returns: its triggers, with the addresses that are known
        :raises LifecycleError: it isn't started
        :raises PublishingError: it has nothing to publish, another version is published, or the Ingress is another's
        """
        status = await self.status()
        if status.state not in ("STARTED", "PUBLISHED"):
            raise LifecycleError(_unstarted(status))
        label, how = site_label(self.site.airflow.url), self.site.settings.publishing
        shown = await publish(self.cluster, self.workflows, label, self.namespace, how, force=force)
        if status.state != "PUBLISHED":
            await self.airflow.record(self.workflows[0].dag_id, note)
        return shown


def _unstarted(status: ProductStatus) -> str:
    what = f"{status.product} {status.version} is {status.state or 'unknown'}"
    if status.state == "ERROR":  # started it is, and its cause may have lines of its own
        return f"{what}, and only what is started can be published. Remedy: mend this first: {status.cause}"
    remedy = f"start it first, with `kai-airflow start {status.product} --version {status.version}`"
    return f"{what}{f': {status.cause}' if status.cause else ''}. Remedy: {remedy}."
