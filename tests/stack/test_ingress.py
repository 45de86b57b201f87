"""What serves in a stack: a Deployment behind an Ingress, which outlives the part that serves it, address and all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from kubernetes import client, config

from tests.stack.parts import kill, part_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.local.stack import Stack

pytestmark = pytest.mark.timeout(600)

NAME, SECONDS = "front", 60
SERVE = """
import http.server, os
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ["KAI_AIRFLOW_PORT_8080"]), bind="127.0.0.1")
"""
LABELS = {"app": NAME}
ABOUT = {"metadata": {"name": NAME}}
CONTAINER = {
    "name": "web",
    "image": f"test/{NAME}:v1",
    "args": [SERVE],
    "ports": [{"containerPort": 8080}],
    "readinessProbe": {"tcpSocket": {"port": 8080}},
}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
DEPLOYMENT = {**ABOUT, "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}}
SERVICE = {**ABOUT, "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]}}
BACKEND = {"service": {"name": NAME, "port": {"number": 80}}}
RULE = {"http": {"paths": [{"path": f"/{NAME}", "pathType": "Prefix", "backend": BACKEND}]}}
INGRESS = {
    "metadata": {"name": NAME, "annotations": {"konghq.com/strip-path": "true"}},
    "spec": {"rules": [RULE]},
}


def until(test: Callable[[], Any]) -> Any:
    """What the test gives, once it gives something; nothing announces the end of a restart."""
    end = time.monotonic() + SECONDS
    while not (found := test()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def make(stack: Stack, *, published: bool = False) -> int:
    """Make the objects, the Ingress where it isn't there yet; the port at which it is served."""
    with client.ApiClient(config.new_client_from_config(str(stack.kubeconfig)).configuration) as kubernetes:
        networking = client.NetworkingV1Api(kubernetes)
        client.AppsV1Api(kubernetes).create_namespaced_deployment("default", DEPLOYMENT)
        client.CoreV1Api(kubernetes).create_namespaced_service("default", SERVICE)
        if not published:
            networking.create_namespaced_ingress("default", INGRESS)

        def addresses() -> Any:
            return networking.read_namespaced_ingress(NAME, "default").status.load_balancer.ingress

        (address,) = until(addresses)
    assert address.hostname == "localhost"
    return int(address.ports[0].port)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def is_gone(stack: Stack) -> bool:
    """Whether a new Kubernetes API answers that knows nothing of the Deployment."""
    server = yaml.safe_load(stack.kubeconfig.read_text())
    url = f"{server['clusters'][0]['cluster']['server']}/apis/apps/v1/namespaces/default/deployments"
    token = {"Authorization": f"Bearer {server['users'][0]['user']['token']}"}
    try:
        return NAME not in [one["metadata"]["name"] for one in httpx.get(url, headers=token).json()["items"]]
    except (httpx.TransportError, KeyError):
        return False


def test_an_address_outlives_the_part_that_serves_it(stack: Stack) -> None:
    images = stack.dags / "images.yaml"
    known = yaml.safe_load(images.read_text()) if images.exists() else {}
    images.write_text(yaml.safe_dump({**known, f"test/{NAME}:v1": ["python", "-u", "-c"]}))
    port = make(stack)
    url = f"http://localhost:{port}/{NAME}/"
    until(lambda: answers(url))
    before = part_process("kai_airflow.local.kubernetes")
    kill("kai_airflow.local.kubernetes")
    until(lambda: is_gone(stack))
    assert part_process("kai_airflow.local.kubernetes") != before
    assert httpx.get(url).status_code == 503  # the Ingress is kept, and nothing is behind it
    assert make(stack, published=True) == port
    until(lambda: answers(url))
    with client.ApiClient(config.new_client_from_config(str(stack.kubeconfig)).configuration) as kubernetes:
        client.AppsV1Api(kubernetes).delete_namespaced_deployment(NAME, "default")
        client.CoreV1Api(kubernetes).delete_namespaced_service(NAME, "default")
        client.NetworkingV1Api(kubernetes).delete_namespaced_ingress(NAME, "default")
