"""The examples of publishing in the documentation, as Airflow and Kubernetes would take them."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import replace

import pytest

from kai_airflow.kube.ingress import ingress
from kai_airflow.operators.settings import publishing
from tests.kube import shop
from tests.test_docs import DEPLOYING, FENCE, manifests, section


def settings(name: str) -> configparser.SectionProxy:
    """Those of the example that begins with a name in bold."""
    part = re.search(rf"^\*\*{name}\*\*(.*?)(?=^\*\*|\Z)", section(DEPLOYING, "Publishing"), re.MULTILINE | re.DOTALL)
    assert part
    (text,) = [found for language, found in FENCE.findall(part[1]) if language == "ini"]
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser["kai_airflow"]


@pytest.mark.parametrize(
    ("name", "kind", "behind", "secrets"),
    [
        ("Kong", "kong", "", []),
        ("ingress-nginx", "nginx", "(/|$)(.*)", []),
        ("Traefik", "traefik", "", []),
        ("TLS by cert-manager", "kong", "", ["shop-tls"]),
    ],
)
def test_an_example_gives_the_ingress_that_it_says(
    name: str, kind: str, behind: str, secrets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in settings(name).items():
        monkeypatch.setenv(f"AIRFLOW__KAI_AIRFLOW__{key.upper()}", value)
    made = ingress([replace(shop.WORKFLOW, processes=(shop.process("rest"),))], shop.SITE, publishing())
    assert made is not None
    spec, annotations = made["spec"], made["metadata"]["annotations"]
    (rule,) = spec["rules"]
    assert (spec["ingressClassName"], rule["host"]) == (kind, "shop.kai.example.com")
    assert rule["http"]["paths"][0]["path"] == f"/serve-rest{behind}"
    assert annotations.items() >= json.loads(settings(name).get("ingress_annotations", "{}")).items()
    assert [tls["secretName"] for tls in spec.get("tls", [])] == secrets


@pytest.mark.parametrize(
    ("path", "taken"), [("/serve-rest", "/serve-rest"), ("/a-b/c-d", "/a-b"), ("/shop.v1.Greeter/SayHello", None)]
)
def test_traefiks_middleware_takes_what_leads_to_a_trigger_and_nothing_of_grpc(path: str, taken: str | None) -> None:
    middleware = manifests("own-path")["Middleware"]
    (expression,) = middleware["spec"]["stripPrefixRegex"]["regex"]
    found = re.match(expression, path)
    assert (found[0] if found else None) == taken
    (named,) = json.loads(settings("Traefik")["ingress_annotations"]).values()
    assert named == f"{middleware['metadata']['namespace']}-own-path@kubernetescrd"
