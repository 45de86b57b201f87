"""Publishing, on the local Kubernetes API."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.cluster.client import INGRESSES, Kubernetes
from kai_airflow.bridge.lifecycle.publishing import PublishingError, publish, unpublish
from kai_airflow.kube.ingress import Publishing
from kai_airflow.kube.live import site_label
from kai_airflow.plan.model import Networking
from tests.bridge.clusters import NAMESPACE
from tests.streaming import process_of, streaming

if TYPE_CHECKING:
    from kai_airflow.plan import Workflow

SITE = site_label("http://airflow")
PLAIN = Publishing()
NAME = "shop"


def networked(version: str = "v1.0.0", protocol: Any = "HTTP") -> Workflow:
    """A workflow whose trigger can be called."""
    workflow = streaming()
    trigger = replace(process_of(workflow, "trigger"), networking=Networking(9000, 80, protocol))
    others = [one for one in workflow.processes if one.name != "trigger"]
    return replace(workflow, version=version, processes=(trigger, *others))


async def found(objects: Kubernetes) -> dict[str, Any] | None:
    return await objects.get(INGRESSES, NAMESPACE, NAME)


async def test_it_is_published_at_the_address_that_the_cluster_tells_and_so_it_is_again(objects: Kubernetes) -> None:
    first = await publish(objects, [networked()], SITE, NAMESPACE, PLAIN)
    (one,) = first
    assert one.url is not None
    assert one.url.startswith("http://localhost:")
    assert one.url.endswith(f"/shop/{networked().name}-trigger")
    assert await publish(objects, [networked()], SITE, NAMESPACE, PLAIN) == first


async def test_below_a_domain_its_url_is_known_at_once(objects: Kubernetes) -> None:
    how = Publishing("kai.test", tls_secret="{product}-tls")
    shown = await publish(objects, [networked(protocol="GRPC")], SITE, NAMESPACE, how)
    assert [one.url for one in shown] == [f"grpcs://shop-{networked().name}-trigger.kai.test"]


async def test_another_version_is_swapped_by_force_only(objects: Kubernetes) -> None:
    await publish(objects, [networked()], SITE, NAMESPACE, PLAIN)
    with pytest.raises(PublishingError, match=r"version v1\.0\.0 of shop is published\. Remedy: .*--force"):
        await publish(objects, [networked("v2.0.0")], SITE, NAMESPACE, PLAIN)
    before = await found(objects)
    assert before is not None
    assert before["metadata"]["labels"]["version"] == "v1.0.0"
    await publish(objects, [networked("v2.0.0")], SITE, NAMESPACE, PLAIN, force=True)
    after = await found(objects)
    assert after is not None
    assert after["metadata"]["labels"]["version"] == "v2.0.0"


async def test_what_is_not_ours_is_never_touched(objects: Kubernetes) -> None:
    backend = {"service": {"name": "theirs", "port": {"number": 80}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    made = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": NAME},
        "spec": {"rules": rules},
    }
    await objects.create(INGRESSES, NAMESPACE, made)
    before = await found(objects)
    with pytest.raises(PublishingError, match=r"default/shop isn't this Airflow's shop, and stays\. Remedy"):
        await publish(objects, [networked()], SITE, NAMESPACE, PLAIN, force=True)
    with pytest.raises(PublishingError, match="and stays"):
        await unpublish(objects, "shop", SITE, NAMESPACE)
    after = await found(objects)
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]


async def test_another_airflows_product_of_that_name_is_not_ours(objects: Kubernetes) -> None:
    await publish(objects, [networked()], site_label("http://other"), NAMESPACE, PLAIN)
    with pytest.raises(PublishingError, match="and stays"):
        await unpublish(objects, "shop", SITE, NAMESPACE)


@pytest.mark.parametrize(
    ("workflow", "remedy"),
    [(streaming(), "give one networking"), (networked(protocol="GRPC"), r"set \[kai_airflow\] base_domain")],
    ids=["no networking", "gRPC without a domain"],
)
async def test_where_nothing_can_be_called_that_is_said(objects: Kubernetes, workflow: Workflow, remedy: str) -> None:
    with pytest.raises(PublishingError, match=rf"no trigger of shop v1\.0\.0 can be called.*{remedy}"):
        await publish(objects, [workflow], SITE, NAMESPACE, PLAIN)
    assert await found(objects) is None


NGINX = {"nginx.ingress.kubernetes.io/use-regex": "true"}


@pytest.mark.parametrize("domain", ["", "kai.test"])
async def test_grpc_that_ingress_nginx_would_rewrite_is_refused(objects: Kubernetes, domain: str) -> None:
    mixed = replace(networked(), name="other"), networked(protocol="GRPC")
    with pytest.raises(
        PublishingError, match=r"gRPC triggers of shop v1\.0\.0 .*use-regex: train trigger\. Remedy: .*Kong"
    ):
        await publish(objects, mixed, SITE, NAMESPACE, Publishing(domain, annotations=NGINX))
    assert await found(objects) is None


async def test_an_address_of_regular_expressions_holds_none(objects: Kubernetes) -> None:
    (one,) = await publish(objects, [networked()], SITE, NAMESPACE, Publishing(annotations=NGINX))
    assert re.fullmatch(r"http://localhost:\d+/shop/train-trigger", one.url or "")


async def test_unpublishing_deletes_it_and_says_which_version_it_was(objects: Kubernetes) -> None:
    await publish(objects, [networked()], SITE, NAMESPACE, PLAIN)
    assert await unpublish(objects, "shop", SITE, NAMESPACE, "v2.0.0") is None
    assert await found(objects) is not None
    assert await unpublish(objects, "shop", SITE, NAMESPACE) == "v1.0.0"
    assert await found(objects) is None
    assert await unpublish(objects, "shop", SITE, NAMESPACE) is None
