"""The cluster's objects, on the local Kubernetes API; and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web

from kai_airflow.bridge.cluster.client import (
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    PODS,
    SECRETS,
    SERVICES,
    ClusterError,
    Kubernetes,
    OutdatedError,
    reaching,
)
from kai_airflow.bridge.live.causes import explained
from kai_airflow.bridge.site import Cluster
from kai_airflow.kube import live
from kai_airflow.kube.ingress import Publishing, ingress
from kai_airflow.plan.model import Networking
from tests.bridge.clusters import NAMESPACE, LocalKubernetes, until
from tests.messaging.credentials import Authority
from tests.streaming import process_of, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

WORKFLOW = streaming()
PROCESS = process_of(WORKFLOW, "worker")
SITE = live.site_label("http://airflow")
SECRET = live.config_secret(WORKFLOW, PROCESS, SITE, {"app.yaml": "YQ=="}, "1")
NAME = SECRET["metadata"]["name"]


async def test_what_is_applied_is_made_corrected_and_left_alone_where_it_is_right(objects: Kubernetes) -> None:
    made = await objects.apply(SECRET, NAMESPACE)
    assert (made["data"], made["metadata"]["labels"]) == ({"app.yaml": "YQ=="}, SECRET["metadata"]["labels"])
    assert (await objects.apply(SECRET, NAMESPACE))["metadata"]["resourceVersion"] == made["metadata"][
        "resourceVersion"
    ]
    await objects.replace(SECRETS, NAMESPACE, {**made, "data": {"app.yaml": "Yg==", "mine": "Yw=="}})
    corrected = await objects.apply(SECRET, NAMESPACE)
    assert corrected["data"] == {"app.yaml": "YQ==", "mine": "Yw=="}  # what others add is theirs


async def test_every_kind_of_a_process_is_applied(objects: Kubernetes) -> None:
    process = replace(PROCESS, replicas=2, type="trigger")
    networked = process_of(streaming(), "trigger")
    networked = replace(networked, networking=Networking(9000, 80, "HTTP"))
    made: list[Any] = [live.deployment(WORKFLOW, process, SITE, "1"), live.autoscaler(WORKFLOW, process, SITE)]
    made += [live.service(WORKFLOW, networked, SITE)]
    made += [ingress([replace(WORKFLOW, processes=(networked,))], SITE, Publishing())]
    for manifest in made:
        answer = await objects.apply(manifest, NAMESPACE)
        assert (answer["kind"], answer["metadata"]["name"]) == (manifest["kind"], manifest["metadata"]["name"])


async def test_a_list_holds_what_its_selector_selects_and_no_other(objects: Kubernetes) -> None:
    await objects.apply(SECRET, NAMESPACE)
    foreign = {**SECRET, "metadata": {"name": "foreign", "labels": {"app.kubernetes.io/managed-by": "kai-airflow"}}}
    await objects.apply(foreign, NAMESPACE)
    listed = await objects.list(SECRETS, NAMESPACE, live.selector(SITE))
    assert [one["metadata"]["name"] for one in listed.items] == [NAME]
    assert (await objects.list(SECRETS, "elsewhere", live.selector(SITE))).items == ()
    assert (await objects.list(EVENTS, NAMESPACE, fields="involvedObject.name=x")).items == ()


async def test_what_has_taken_the_name_of_another_is_not_deleted(objects: Kubernetes) -> None:
    found = await objects.apply(SECRET, NAMESPACE)
    other = {**found, "metadata": {**found["metadata"], "uid": "another"}}
    await objects.delete(SECRETS, other)
    assert await objects.get(SECRETS, NAMESPACE, NAME) is not None
    await objects.delete(SECRETS, found)
    await objects.delete(SECRETS, found)
    assert await objects.get(SECRETS, NAMESPACE, NAME) is None


async def test_a_state_that_has_changed_is_not_replaced(objects: Kubernetes) -> None:
    lease = {"apiVersion": LEASES.api, "kind": LEASES.name, "metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}
    made = await objects.create(LEASES, NAMESPACE, lease)
    await objects.replace(LEASES, NAMESPACE, {**made, "spec": {"holderIdentity": "b"}})
    for act in (objects.replace(LEASES, NAMESPACE, made), objects.create(LEASES, NAMESPACE, lease)):
        with pytest.raises(ClusterError) as caught:
            await act
        assert caught.value.status == 409


async def test_a_watch_tells_what_becomes_of_objects(objects: Kubernetes) -> None:
    since = (await objects.list(SECRETS, NAMESPACE, live.selector(SITE))).version
    made = await objects.apply(SECRET, NAMESPACE)
    await objects.apply({**SECRET, "data": {"app.yaml": "Yg=="}}, NAMESPACE)
    await objects.delete(SECRETS, made)
    told = [what async for what, _ in objects.watch(SECRETS, NAMESPACE, live.selector(SITE), since, 1)]
    assert [what for what in told if what != "BOOKMARK"] == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_watch_from_a_version_that_nobody_knows_is_outdated(objects: Kubernetes) -> None:
    with pytest.raises(OutdatedError):
        await anext(objects.watch(SECRETS, NAMESPACE, "", "1", 5))


async def test_the_last_lines_of_a_container_are_read_and_none_where_there_are_none(objects: Kubernetes) -> None:
    spec = {"restartPolicy": "Never", "containers": [{"name": "process", "image": "sh", "args": ["seq 9"]}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    await objects.create(PODS, NAMESPACE, pod)

    async def has_ended() -> bool:
        found = await objects.get(PODS, NAMESPACE, "p")
        return bool(found and found["status"]["phase"] == "Succeeded")

    await until(has_ended)
    assert await objects.log(NAMESPACE, "p", "process", previous=False, lines=3, most=4096) == "7\n8\n9\n"
    assert await objects.log(NAMESPACE, "none", "process", previous=False, lines=3, most=4096) == ""


# What goes wrong.


async def test_an_object_that_kubernetes_refuses_is_told_with_its_place(objects: Kubernetes) -> None:
    wrong = {**live.deployment(WORKFLOW, PROCESS, SITE, "1")}
    wrong["spec"] = {**wrong["spec"], "selector": {"matchLabels": {"app": "another"}}}
    with pytest.raises(ClusterError) as caught:
        await objects.apply(wrong, NAMESPACE)
    assert caught.value.status == 422
    assert str(caught.value).startswith(f"Kubernetes: cannot apply Deployment default/{NAME}: 422 ")


async def test_a_cluster_that_is_not_there_is_told(local: LocalKubernetes, objects: Kubernetes) -> None:
    local.kill()
    for act in (objects.list(PODS, NAMESPACE), anext(objects.watch(PODS, NAMESPACE, "", "1", 1))):
        with pytest.raises(ClusterError, match="Remedy: see that the cluster can be reached") as caught:
            await act
        assert caught.value.status == 0


def kubeconfig(**user: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t", **user}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (Cluster(kubeconfig="/nowhere/kubeconfig"), "/nowhere/kubeconfig"),
        (Cluster(config={"clusters": []}), "Invalid kube-config"),
        (Cluster(config=kubeconfig(), context="other"), "other"),
        (Cluster(), "this runs in no cluster, and KUBECONFIG"),
    ],
)
async def test_where_nobody_says_where_the_cluster_is_the_connection_is_to_be_mended(
    cluster: Cluster, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    location = str(tmp_path / "none")
    monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", location)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match="connection kubernetes_default") as caught:
        async with reaching(cluster):
            pass
    assert why in str(caught.value)


async def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("a: [")
    with pytest.raises(ClusterError, match="kubeconfig"):
        async with reaching(Cluster(kubeconfig=str(tmp_path / "kubeconfig"))):
            pass


@pytest.fixture
async def refusing() -> AsyncIterator[tuple[Cluster, list[web.Request], list[tuple[int, Any]]]]:
    """An API whose next answer is as given: what the local one, which knows no permissions, never says."""
    asked: list[web.Request] = []
    answers: list[tuple[int, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        status, body = answers[0]
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = kubeconfig()
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield Cluster(config=config), asked, answers
    await runner.cleanup()


FORBIDDEN = {
    "kind": "Status",
    "status": "Failure",
    "message": 'deployments.apps "x" is forbidden: User "system:serviceaccount:kai:bridge" cannot patch resource',
    "code": 403,
}


async def test_a_missing_permission_is_told_with_what_to_allow(refusing: Any) -> None:
    cluster, _, answers = refusing
    answers.append((403, FORBIDDEN))
    async with reaching(cluster) as kubernetes:
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "patch deployments": lambda: kubernetes.apply(live.deployment(WORKFLOW, PROCESS, SITE, "1"), "kai"),
            "list secrets": lambda: kubernetes.list(SECRETS, "kai"),
            "watch services": lambda: anext(kubernetes.watch(SERVICES, "kai", "", "1", 1)),
            "get pods/log": lambda: kubernetes.log("kai", "p", "process", previous=True, lines=1, most=1),
        }
        for what, act in acts.items():
            with pytest.raises(ClusterError) as caught:
                await act()
            assert caught.value.status == 403
            assert 'User "system:serviceaccount:kai:bridge"' in str(caught.value)
            assert f"Remedy: let the bridge {what} in namespace kai: docs/deploying.md" in str(caught.value)


async def test_an_authority_of_a_cluster_s_own_is_believed_as_kubernetes_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some have no key identifiers, and Python 3.13 refuses those where nobody says otherwise; another's is refused."""
    authority, context = Authority(tmp_path), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.server)

    def strict(*args: Any, **more: Any) -> ssl.SSLContext:
        made = create(*args, **more)
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", strict)
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    config = kubeconfig()
    server = config["clusters"][0]["cluster"]
    server |= {"server": f"https://127.0.0.1:{runner.addresses[0][1]}", "certificate-authority": str(authority.ca)}
    async with reaching(Cluster(config=config)) as kubernetes:
        assert await kubernetes.get(PODS, "kai", "x") is None
    del server["certificate-authority"]
    async with reaching(Cluster(config=config)) as kubernetes:
        with pytest.raises(ClusterError, match="CERTIFICATE_VERIFY_FAILED"):
            await kubernetes.get(PODS, "kai", "x")
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"message": "Unauthorized"}, "401 Unauthorized. Remedy: name a kubeconfig"),
        (500, "<html>proxy</html>", "500 <html>proxy</html>"),
        (422, {"message": 'Invalid value: "password: hunter2"'}, "password: ***"),
        (200, "no json", "JSONDecodeError"),
        (403, {"message": 'secrets "x" is forbidden: exceeded quota: small'}, "exceeded quota: small."),
        (502, ["a list"], "502"),
    ],
)
async def test_what_else_a_server_may_say_is_an_error_of_ours(refusing: Any, status: int, body: Any, told: str) -> None:
    cluster, _, answers = refusing
    answers.append((status, body))
    async with reaching(cluster) as kubernetes:
        with pytest.raises(ClusterError) as caught:
            await kubernetes.get(DEPLOYMENTS, "kai", "x")
    assert told in str(caught.value)
    assert "the Role" not in str(caught.value)  # no permission is missing
    assert "hunter2" not in str(caught.value)


async def test_a_log_that_nobody_can_read_keeps_no_cause_from_being_told(refusing: Any) -> None:
    """Its node is lost: the API waits for the kubelet, and gives up."""
    cluster, _, answers = refusing
    answers.append((500, {"message": "dial tcp 10.0.0.7:10250: i/o timeout"}))
    ended = {"name": "process", "state": {"terminated": {"exitCode": 3}}}
    pod = {"metadata": {"name": "p", "namespace": "kai"}, "status": {"containerStatuses": [ended]}}
    async with reaching(cluster) as kubernetes:
        first, second = (await explained(kubernetes, {"metadata": {}}, [pod], ())).splitlines()
    assert first == "its process ended with exit code 3"
    assert second.startswith("  Kubernetes: cannot read the log of pod kai/p: 500 dial tcp")


async def test_a_list_of_many_pages_is_read_whole(refusing: Any) -> None:
    cluster, asked, answers = refusing
    page = {"items": [{"metadata": {"name": "a"}}], "metadata": {"resourceVersion": "7", "continue": "more"}}
    answers.append((200, page))
    async with reaching(cluster) as kubernetes:
        listing = kubernetes.list(PODS, "kai", "a=b")
        task = asyncio.ensure_future(listing)
        await until(_have(asked, 2))
        answers[0] = (200, {"items": [], "metadata": {"resourceVersion": "8"}})
        listed = await task
    assert listed.version == "8"
    assert {one["metadata"]["name"] for one in listed.items} == {"a"}
    assert [dict(one.query) for one in asked[:2]] == [
        {"labelSelector": "a=b", "limit": "500"},
        {"labelSelector": "a=b", "limit": "500", "continue": "more"},
    ]
    assert asked[0].headers["Authorization"] == "Bearer t"


def _have(asked: list[Any], count: int) -> Any:
    async def have() -> bool:
        return len(asked) >= count

    return have


async def test_a_token_that_a_program_gives_is_used(refusing: Any, tmp_path: Path) -> None:
    cluster, asked, answers = refusing
    answers.append((404, {"message": "not found"}))
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "made"},
    }
    code = f"print({json.dumps(json.dumps(credential))})"
    program = {"apiVersion": credential["apiVersion"], "command": sys.executable, "args": ["-c", code]}
    config = {**cluster.config, "users": [{"name": "u", "user": {"exec": program}}]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    async with reaching(Cluster(kubeconfig=str(tmp_path / "kubeconfig"))) as kubernetes:
        assert await kubernetes.get(PODS, "kai", "x") is None
    assert asked[0].headers["Authorization"] == "Bearer made"
