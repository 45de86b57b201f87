"""The Ingress of a product, for each kind of controller."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from kai_airflow.kube.found import is_of
from kai_airflow.kube.ingress import Publishing, ingress, published
from tests.kube.shop import SITE, WORKFLOW, process, read

GRPC = process("grpc")
URL_DOMAIN = Publishing(domain="kai.example.com", ingress_class="kong", tls_secret="{product}-tls")
USE_REGEX = {"nginx.ingress.kubernetes.io/use-regex": "true"}
REWRITE = {"nginx.ingress.kubernetes.io/rewrite-target": "/$2"}
NGINX = Publishing(ingress_class="nginx", annotations=USE_REGEX)


def made_of(how: Publishing) -> dict[str, Any]:
    made = ingress([WORKFLOW], SITE, how)
    assert made is not None
    return made


@pytest.mark.parametrize("how", [URL_DOMAIN, Publishing(), NGINX])
def test_it_is_one_that_kubernetes_knows(how: Publishing) -> None:
    made = made_of(how)
    assert read(made) == made
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", made["metadata"]["name"])
    assert is_of(made, SITE)


def test_an_ingress_of_a_domain_has_a_host_for_a_products_http_and_one_for_each_grpc_trigger() -> None:
    made = ingress([WORKFLOW], SITE, URL_DOMAIN)
    assert made is not None
    http, grpc = made["spec"]["rules"]
    assert http["host"] == "shop.kai.example.com"
    (path,) = http["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/serve-rest", "Prefix")
    assert path["backend"] == {"service": {"name": "shop-v1-0-0-serve-rest", "port": {"name": "trigger"}}}
    assert grpc["host"] == "shop-serve-grpc.kai.example.com"
    assert grpc["http"]["paths"][0]["path"] == "/"
    assert made["spec"]["tls"] == [{"hosts": [http["host"], grpc["host"]], "secretName": "shop-tls"}]
    assert made["spec"]["ingressClassName"] == "kong"
    assert made["metadata"]["annotations"] == {"konghq.com/strip-path": "true"}
    assert made["metadata"]["labels"]["version"] == "v1.0.0"


def test_an_ingress_without_a_domain_tells_products_apart_by_path_and_publishes_http_alone() -> None:
    made = ingress([WORKFLOW], SITE, Publishing())
    assert made is not None
    (rule,) = made["spec"]["rules"]
    assert "host" not in rule
    assert [path["path"] for path in rule["http"]["paths"]] == ["/shop/serve-rest"]
    assert ingress([replace(WORKFLOW, processes=(process("poll"),))], SITE, URL_DOMAIN) is None
    assert ingress([replace(WORKFLOW, processes=(GRPC,))], SITE, Publishing()) is None
    assert ingress([], SITE, URL_DOMAIN) is None


def test_what_is_published_is_told_with_the_address_that_the_cluster_gives() -> None:
    made = ingress([WORKFLOW], SITE, Publishing())
    assert made is not None
    (shown,) = published(made, [WORKFLOW])
    assert (shown.workflow, shown.process, shown.url) == ("serve", "rest", None)
    balancer = {"hostname": "localhost", "ports": [{"port": 8088, "protocol": "TCP"}]}
    found = {**made, "status": {"loadBalancer": {"ingress": [balancer]}}}
    assert published(found, [WORKFLOW])[0].url == "http://localhost:8088/shop/serve-rest"
    with_domain = ingress([WORKFLOW], SITE, URL_DOMAIN)
    assert with_domain is not None
    assert [one.url for one in published(with_domain, [WORKFLOW])] == [
        "https://shop.kai.example.com/serve-rest",
        "grpcs://shop-serve-grpc.kai.example.com",
    ]


@pytest.mark.parametrize("said", [USE_REGEX, REWRITE, {**USE_REGEX, **REWRITE}], ids=["regex", "rewrite", "both"])
def test_ingress_nginx_gets_regular_expressions_that_leave_the_triggers_own_path(said: dict[str, str]) -> None:
    made = made_of(replace(NGINX, annotations=said))
    (path,) = made["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/shop/serve-rest(/|$)(.*)", "ImplementationSpecific")
    assert made["metadata"]["annotations"] == {**said, **REWRITE}
    below = made_of(replace(URL_DOMAIN, annotations=said))
    (rule,) = below["spec"]["rules"]  # none for gRPC, whose path would be rewritten
    assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("shop.kai.example.com", "/serve-rest(/|$)(.*)")


def test_a_rewrite_target_of_ones_own_is_kept() -> None:
    own = {**USE_REGEX, "nginx.ingress.kubernetes.io/rewrite-target": "/api/$2"}
    assert made_of(replace(NGINX, annotations=own))["metadata"]["annotations"] == own


@pytest.mark.parametrize("said", ["false", "", "True"])
def test_only_an_annotation_that_says_true_makes_regular_expressions(said: str) -> None:
    made = made_of(Publishing(annotations={"nginx.ingress.kubernetes.io/use-regex": said}))
    (path,) = made["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/shop/serve-rest", "Prefix")


def test_no_url_holds_a_regular_expression() -> None:
    balancer = {"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP"}]}
    found = {**made_of(NGINX), "status": {"loadBalancer": {"ingress": [balancer]}}}
    assert [one.url for one in published(found, [WORKFLOW])] == ["http://192.0.2.1/shop/serve-rest"]
    below = made_of(replace(URL_DOMAIN, annotations=USE_REGEX))
    assert [one.url for one in published(below, [WORKFLOW])] == ["https://shop.kai.example.com/serve-rest"]


def test_a_host_fits_dns() -> None:
    """40 characters of a product, 20 of a workflow and 20 of a process are 82 with their dashes; DNS takes 63."""
    long = replace(WORKFLOW, product="p" * 40, name="w" * 20, processes=(replace(GRPC, name="g" * 20),))
    other = replace(long, processes=(replace(GRPC, name=f"{'g' * 19}h"),))
    hosts = []
    for workflow in (long, other):
        made = ingress([workflow], SITE, URL_DOMAIN)
        assert made is not None
        hosts.append(made["spec"]["rules"][0]["host"])
    assert hosts[0] != hosts[1]
    assert all(re.fullmatch(r"p{40}-w{13}-[0-9a-f]{8}\.kai\.example\.com", host) for host in hosts)
