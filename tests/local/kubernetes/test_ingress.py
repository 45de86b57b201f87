"""Requests through an Ingress to real processes in pods of real Deployments."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from kubernetes import client

from kai_airflow.kube import live
from kai_airflow.kube.ingress import Publishing, ingress, published
from tests.kube import shop
from tests.local.kubernetes.conftest import until
from tests.local.kubernetes.test_deployments import Deployments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.kubernetes.conftest import Kube

ECHO = """
import asyncio, json, os
from aiohttp import web

async def echo(request):
    body = await request.read()
    headers = [[name, value] for name, value in request.headers.items()]
    found = {"pod": os.environ["POD"], "method": request.method, "path": request.raw_path, "headers": headers}
    answer = web.json_response({**found, "body": body.decode()}, headers={"X-Own": "1", "Keep-Alive": "timeout=1"})
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer

async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for block in request.content.iter_any():
        await response.write(block.upper())
    return response

async def broken(request):
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"part")
    request.transport.abort()

async def talk(request):
    ws = web.WebSocketResponse(protocols=["kai"])
    await ws.prepare(request)
    async for message in ws:
        if message.data == "end":
            await ws.close(code=4001)
        elif isinstance(message.data, bytes):
            await ws.send_bytes(message.data)
        else:
            await ws.send_str(f"{request.raw_path} {message.data}")
    return ws

app = web.Application()
app.router.add_route("*", "/stream", stream)
app.router.add_route("*", "/broken", broken)
app.router.add_route("GET", "/talk", talk)
app.router.add_route("*", "/{rest:.*}", echo)
web.run_app(app, host="127.0.0.1", port=int(os.environ["KAI_AIRFLOW_PORT_8080"]), print=None)
"""

POD = {
    "ports": [{"containerPort": 8080, "name": "web"}],
    "readinessProbe": {"tcpSocket": {"port": 8080}},
    "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
}
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}
ANNOTATIONS = {
    "nginx.ingress.kubernetes.io/use-regex": "true",
    "nginx.ingress.kubernetes.io/rewrite-target": "/$2",
}


class Site:
    """A Deployment with Service and Ingress, and how to call it."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.space = kube, kube.namespace
        self.deployments = Deployments(kube)
        self.networking = client.NetworkingV1Api(kube.api_client)
        self.path = f"/{self.space}/web"

    def service(self, **port: Any) -> Any:
        ports = [{"name": "trigger", "port": 80, "targetPort": 8080, **port}]
        body = {"metadata": {"name": "s"}, "spec": {"selector": {"app": "d"}, "ports": ports}}
        return self.kube.core.create_namespaced_service(self.space, body)

    def ingress(
        self, name: str = "i", *, port: dict[str, Any] | None = None, annotations: dict[str, str] | None = None
    ) -> Any:
        backend = {"service": {"name": "s", "port": port or {"number": 80}}}
        path = {"path": f"{self.path}(/|$)(.*)", "pathType": "ImplementationSpecific", "backend": backend}
        metadata = {"name": name, "annotations": {**ANNOTATIONS, **(annotations or {})}}
        body = {"metadata": metadata, "spec": {"rules": [{"http": {"paths": [path]}}]}}
        return self.networking.create_namespaced_ingress(self.space, body)

    @property
    def door(self) -> int:
        """The port that the Ingress's status names."""

        def served() -> Any:
            return self.networking.read_namespaced_ingress("i", self.space).status.load_balancer.ingress

        until(served)
        (address,) = served()
        (port,) = address.ports
        assert (address.hostname, port.protocol) == ("localhost", "TCP")
        return int(port.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.door}{self.path}"


@pytest.fixture
def site(kube: Kube) -> Iterator[Site]:
    """One that answers."""
    found = Site(kube)
    found.deployments.create(ECHO, pod=POD)
    found.service()
    found.ingress()
    found.deployments.complete()
    yield found
    found.deployments.apps.delete_collection_namespaced_deployment(kube.namespace)
    found.networking.delete_collection_namespaced_ingress(kube.namespace)


@pytest.fixture
def bare(kube: Kube) -> Iterator[Site]:
    """One whose parts the test makes."""
    found = Site(kube)
    yield found
    found.deployments.apps.delete_collection_namespaced_deployment(kube.namespace)
    found.networking.delete_collection_namespaced_ingress(kube.namespace)


def headers(answer: httpx.Response) -> dict[str, str]:
    """What the backend saw."""
    return {name.lower(): value for name, value in answer.json()["headers"]}


def test_a_request_reaches_the_pod_without_the_prefix(site: Site) -> None:
    answer = httpx.post(f"{site.url}/orders/1?a=1&b=%2F", content=b"hello", headers={"X-Token": "t"})
    found = answer.json()
    assert (answer.status_code, found["method"], found["body"]) == (200, "POST", "hello")
    assert found["path"] == "/orders/1?a=1&b=%2F"
    assert headers(answer)["x-token"] == "t"
    assert headers(answer)["content-length"] == "5"
    assert answer.headers["x-own"] == "1"
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert "keep-alive" not in answer.headers


USE_REGEX = {"nginx.ingress.kubernetes.io/use-regex": "true"}


@pytest.mark.parametrize("said", [{}, USE_REGEX], ids=["Kong", "ingress-nginx"])
@pytest.mark.parametrize("domain", ["", "kai.test"])
def test_a_published_trigger_is_asked_for_its_own_path_at_the_url_that_is_told(
    site: Site, domain: str, said: dict[str, str]
) -> None:
    trigger = shop.process("rest")
    made = ingress([shop.WORKFLOW], shop.SITE, Publishing(domain, annotations=said))
    service = {**live.service(shop.WORKFLOW, trigger, shop.SITE)}
    service["spec"] = {**service["spec"], "selector": {"app": "d"}}
    service["spec"]["ports"] = [{**service["spec"]["ports"][0], "targetPort": 8080}]
    site.kube.core.create_namespaced_service(site.space, service)
    site.networking.create_namespaced_ingress(site.space, made)

    def told() -> list[str | None]:
        found = site.networking.read_namespaced_ingress("shop", site.space)
        as_json = site.networking.api_client.sanitize_for_serialization(found)
        return [one.url for one in published(as_json, [shop.WORKFLOW]) if one.process == "rest"]

    until(lambda: told() != [None])
    (said_url,) = told()
    url = httpx.URL(str(said_url))
    here = url.copy_with(host="127.0.0.1", port=site.door)
    for asked, seen in (("", "/"), ("/", "/"), ("/orders/1?a=1", "/orders/1?a=1")):
        answer = httpx.get(f"{here}{asked}", headers={"Host": url.netloc.decode()})
        assert (answer.status_code, answer.json()["path"]) == (200, seen)
    assert httpx.get(f"{here}aurant", headers={"Host": url.netloc.decode()}).status_code == 404


def test_headers_say_who_asked_and_clients_can_not(site: Site) -> None:
    said = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "1.2.3.4",
        "Connection": "X-Secret",
        "X-Secret": "s",
        "TE": "trailers",
        "Proxy-Authorization": "p",
    }
    found = headers(httpx.get(site.url, headers=said))
    assert (found["x-forwarded-for"], found["x-real-ip"]) == ("127.0.0.1", "127.0.0.1")
    assert (found["x-forwarded-proto"], found["x-forwarded-port"]) == ("http", str(site.door))
    assert found["host"] == found["x-forwarded-host"] == f"127.0.0.1:{site.door}"
    assert not found.keys() & {"x-secret", "te", "proxy-authorization"}


def test_head_and_other_methods(site: Site) -> None:
    answer = httpx.head(site.url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert httpx.request("PURGE", site.url).json()["method"] == "PURGE"


async def test_bodies_are_streamed_both_ways(site: Site) -> None:
    block, more = b"x" * 65536, asyncio.Event()

    async def blocks() -> Any:
        yield b"begin"
        await more.wait()  # the answer to the first is there before the second is sent
        for _ in range(100):
            yield block

    async with aiohttp.ClientSession() as session, session.post(f"{site.url}/stream", data=blocks()) as answer:
        assert await answer.content.readexactly(5) == b"BEGIN"
        more.set()
        assert len(await answer.read()) == 100 * len(block)


def test_an_answer_that_breaks_off_does_not_look_whole(site: Site) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{site.url}/broken")


async def test_websockets_pass(site: Site) -> None:
    url = f"{site.url}/talk?x=1".replace("http:", "ws:")
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=["other", "kai"]) as ws:
        assert ws.protocol == "kai"
        await ws.send_str("hello")
        assert await ws.receive_str() == "/talk?x=1 hello"
        await ws.send_bytes(b"\0\1")
        assert await ws.receive_bytes() == b"\0\1"
        await ws.send_str("end")
        assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == 4001
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{site.url}/nothing".replace("http:", "ws:"))
    assert refused.value.status == 200  # the backend's answer, which isn't a WebSocket's


def test_pods_take_turns_and_those_that_end_get_nothing(site: Site) -> None:
    site.deployments.patch(replicas=3)
    site.deployments.complete(3)
    names = {pod.metadata.name for pod in site.deployments.pods()}
    asked = [httpx.get(site.url).json()["pod"] for _ in range(6)]
    assert set(asked) == names
    assert asked[:3] == asked[3:]
    site.deployments.patch(replicas=1)
    site.deployments.complete(1)
    (left,) = site.deployments.pods()
    assert {httpx.get(site.url).json()["pod"] for _ in range(4)} == {left.metadata.name}


def test_no_request_is_lost_while_a_new_template_takes_over(site: Site) -> None:
    before = httpx.get(site.url).json()["pod"]
    site.deployments.patch(template={"metadata": {"annotations": {"a": "b"}}})
    with httpx.Client() as http:
        while (answer := http.get(site.url)).status_code == 200 and answer.json()["pod"] == before:
            pass
    assert answer.status_code == 200, answer.text
    site.deployments.complete()


def test_a_named_port_and_one_that_is_not_there(site: Site) -> None:
    site.networking.delete_namespaced_ingress("i", site.space)
    site.kube.core.delete_namespaced_service("s", site.space)
    site.service(targetPort="web")
    site.ingress(port={"name": "trigger"})
    assert httpx.get(site.url).status_code == 200
    site.networking.delete_namespaced_ingress("i", site.space)
    site.ingress(port={"number": 81})
    answer = httpx.get(site.url)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/plain; charset=utf-8")
    assert answer.text == f"503: Service {site.space}/s has no port 81, which the Ingress names\n"


def test_what_is_missing_is_said(bare: Site) -> None:
    bare.ingress()
    assert httpx.get(bare.url).text == f"503: the Ingress names Service {bare.space}/s, which doesn't exist\n"
    bare.service()
    assert httpx.get(bare.url).text == f"503: no pod of Service {bare.space}/s is ready\n"
    answer = httpx.get(f"http://127.0.0.1:{bare.door}/{bare.space}/other")
    path = f"/{bare.space}/other"
    assert (answer.status_code, answer.text) == (
        404,
        f"404: no Ingress has a rule for the path '{path}' of the host '127.0.0.1'\n",
    )


def test_a_backend_that_takes_no_connections_is_a_502(bare: Site) -> None:
    bare.deployments.create(pod={"ports": POD["ports"]})
    bare.service()
    bare.ingress()
    bare.deployments.complete()
    assert httpx.get(bare.url).text == "502: no pod of Service s takes connections\n"


@pytest.mark.parametrize("who", ["the Ingress", "the Service"])
def test_grpc_is_not_implemented(bare: Site, who: str) -> None:
    nginx, kong = {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"}, {"konghq.com/protocol": "grpc"}
    bare.ingress(annotations=nginx if who == "the Ingress" else {})
    bare.service()
    if who == "the Service":
        bare.kube.core.patch_namespaced_service("s", bare.space, {"metadata": {"annotations": kong}})
    answer = httpx.get(bare.url)
    assert answer.status_code == 501
    assert f"Service {bare.space}/s speaks GRPC" in answer.text


def test_an_ingress_that_is_deleted_leads_nowhere(site: Site) -> None:
    url = site.url
    site.networking.delete_namespaced_ingress("i", site.space)
    assert httpx.get(url).status_code == 404


class TestHostile:
    def raw(self, site: Site, text: bytes) -> bytes:
        """The answer to what no client would send."""
        with socket.create_connection(("127.0.0.1", site.door), timeout=10) as connection:
            connection.sendall(text)
            answer = b""
            while block := connection.recv(65536):
                answer += block
            return answer

    def get(self, site: Site, path: str) -> tuple[int, str]:
        """The status, and the path that the backend saw."""
        answer = self.raw(site, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        return status, json.loads(body)["path"] if status == 200 else ""

    def test_a_path_is_what_it_was_matched_as(self, site: Site) -> None:
        seen = {
            "/web/a/../b": "/b",
            "/web/a/%2e%2e/b": "/b",
            "/web/a%2F..%2Fb": "/b",
            "/web/%2e%2e/web/b": "/b",
            "/web//b": "/b",
            "/web/@evil/": "/@evil/",
        }
        assert {path: self.get(site, f"/{site.space}{path}") for path in seen} == {
            path: (200, asked) for path, asked in seen.items()
        }

    def test_a_path_that_leads_elsewhere_leads_nowhere(self, bare: Site) -> None:
        bare.ingress()
        space = f"/{bare.space}"
        answers = {
            "/../../etc/passwd": 400,
            f"{space}/web/%00": 400,
            f"{space}/web/%zz": 400,
            f"{space}/web/..%2f..%2f..%2f": 400,
            f"{space}/web/../other": 404,
            "http://elsewhere/web": 400,
            f"{space}/web/x": 503,
        }
        assert {path: self.get(bare, path)[0] for path in answers} == answers

    def test_headers_without_end_are_refused(self, bare: Site) -> None:
        bare.ingress()
        for text in (b"X: " + b"x" * 100_000, b"\r\n".join(b"X%d: x" % number for number in range(100_000))):
            try:
                answer = self.raw(bare, b"GET / HTTP/1.1\r\nHost: x\r\n" + text + b"\r\n\r\n")
            except ConnectionError:
                continue
            assert re.match(rb"HTTP/1\.[01] (400|404|431) ", answer)
        assert httpx.get(bare.url).status_code == 503  # it still answers

    def test_two_lengths_of_a_body_are_refused(self, bare: Site) -> None:
        bare.ingress()
        head = f"POST {bare.path} HTTP/1.1\r\nHost: x\r\n".encode()
        smuggled = head + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /other HTTP/1.1\r\n\r\n"
        assert re.match(rb"HTTP/1\.[01] 400 ", self.raw(bare, smuggled))


@pytest.mark.parametrize(
    "rule",
    [
        {"http": {"paths": []}},
        {"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {}}]}},
        {"http": {"paths": [{"path": "/x", "backend": BACKEND}]}},
        {"http": {"paths": [{"path": "/x(.*)", "pathType": "Prefix", "backend": BACKEND}]}},
        {"http": {"paths": [{"path": "/x%2F", "pathType": "Exact", "backend": BACKEND}]}},
        {"host": "not a host"},
    ],
)
def test_an_ingress_that_makes_no_sense_is_refused(bare: Site, rule: Any) -> None:
    url = f"/apis/networking.k8s.io/v1/namespaces/{bare.space}/ingresses"
    assert bare.kube.http.post(url, json={"metadata": {"name": "i"}, "spec": {"rules": [rule]}}).status_code == 422


def test_a_broken_regular_expression_is_refused(bare: Site) -> None:
    bare.path = "/(["
    with pytest.raises(client.ApiException) as refused:
        bare.ingress()
    assert refused.value.status == 422
    assert "no regular expression" in refused.value.body


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"type": "LoadBalancer"}, 501),
        ({"ports": [{"port": 0}]}, 422),
        ({"ports": [{"port": 80}, {"port": 81}]}, 422),
        ({"selector": {"a b": "c"}}, 422),
    ],
)
def test_a_service_that_makes_no_sense_is_refused(bare: Site, spec: Any, code: int) -> None:
    url = f"{bare.kube.url}/services"
    assert bare.kube.http.post(url, json={"metadata": {"name": "s"}, "spec": spec}).status_code == code
