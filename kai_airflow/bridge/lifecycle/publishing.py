"""Publishing a version: its product's Ingress, by which people reach its triggers (KAI reference, section 6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kai_airflow.bridge.cluster.client import INGRESSES
from kai_airflow.bridge.lifecycle.status import version_label
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.found import is_of
from kai_airflow.kube.ingress import USE_REGEX, ingress, published, triggers
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.kube import Published, Publishing
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Workflow

LOOK = 0.2  # seconds between looks for an address
ADDRESS = 20.0  # seconds for the cluster to say where it serves; some never do


class PublishingError(KaiAirflowError):
    """A version can't be published, or unpublished, as things are."""


async def publish(
    cluster: Kubernetes,
    workflows: Sequence[Workflow],
    site: str,
    namespace: str,
    how: Publishing,
    *,
    force: bool = False,
) -> tuple[Published, ...]:
    """Publish a version, whose workflows these are; again, where it is published already.

    :param site: the label of the site's objects
    :param namespace: where the product lives
    :param force: take the place of another version that is published
    :returns: what is published, with the addresses that are known within ``ADDRESS`` seconds
    :raises PublishingError: it has nothing to publish, another version is published, or the Ingress is another's
    :raises ClusterError: Kubernetes doesn't answer, or refuses
    """
    product, version = workflows[0].product, workflows[0].version
    if how.is_regex and (grpc := triggers(workflows, "GRPC")):
        raise PublishingError(_only_http(product, version, [f"{w.name} {process.name}" for w, process in grpc]))
    wanted = ingress(workflows, site, how)
    if wanted is None:
        raise PublishingError(_nothing(product, version, how))
    found = await _found(cluster, product, namespace, site)
    if found and version_label(found) != names.label(version) and not force:
        raise PublishingError(
            f"version {version_label(found)} of {product} is published. "
            f"Remedy: kai-airflow unpublish {product}, or swap them with --force."
        )
    return await _addressed(cluster, await cluster.apply(wanted, namespace), workflows)


async def unpublish(
    cluster: Kubernetes, product: str, site: str, namespace: str, version: str | None = None
) -> str | None:
    """Unpublish a product, or its version where that one is published; the version that it was, None where none was.

    :raises PublishingError: the Ingress of that name is another's
    :raises ClusterError: Kubernetes doesn't answer, or refuses
    """
    found = await _found(cluster, product, namespace, site)
    if found is None or (version is not None and version_label(found) != names.label(version)):
        return None
    await cluster.delete(INGRESSES, found)
    return version_label(found)


async def _found(cluster: Kubernetes, product: str, namespace: str, site: str) -> Manifest | None:
    """The product's Ingress. Raises PublishingError for one that isn't this site's."""
    found = await cluster.get(INGRESSES, namespace, names.ingress(product))
    if found and not is_of(found, site):
        raise PublishingError(
            f"the Ingress {namespace}/{names.ingress(product)} isn't this Airflow's {product}, and stays. "
            "Remedy: remove or rename it, or give the product another namespace (x-airflow: {namespace: ...})."
        )
    return found


async def _addressed(cluster: Kubernetes, made: Manifest, workflows: Sequence[Workflow]) -> tuple[Published, ...]:
    """What an Ingress publishes, once the cluster has said where."""
    where = made["metadata"]
    shown = published(made, workflows)
    try:
        async with asyncio.timeout(ADDRESS):
            while any(one.url is None for one in shown):
                await asyncio.sleep(LOOK)
                made = await cluster.get(INGRESSES, where["namespace"], where["name"]) or made
                shown = published(made, workflows)
    except TimeoutError:
        pass  # a cluster behind a load balancer of its own may never tell
    return shown


def _only_http(product: str, version: str, grpc: Sequence[str]) -> str:
    return (
        f"gRPC triggers of {product} {version} can't be published where [kai_airflow] ingress_annotations say "
        f"{USE_REGEX}: {', '.join(grpc)}. Remedy: publish by a controller that needs no such annotation (Kong, "
        "Traefik), or move them to a product of their own, and lead an Ingress of yours to their Services."
    )


def _nothing(product: str, version: str, how: Publishing) -> str:
    said = f"no trigger of {product} {version} can be called from outside. Remedy: "
    if not how.domain:
        return f"{said}give one networking with protocol HTTP; for GRPC, set [kai_airflow] base_domain as well."
    return f"{said}give one networking."
