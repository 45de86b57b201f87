"""Server-side apply and Leases over HTTP, through the asyncio client."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client import ApiException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.local.kubernetes.conftest import Kube

APPLY = "application/apply-patch+yaml"
MANIFEST: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "labels": {"app": "d", "team": "a"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {
                "containers": [
                    {"name": "c", "image": "python", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
                ]
            },
        },
    },
}


@pytest.fixture
async def api(kube: Kube) -> AsyncIterator[Any]:
    settings = client.Configuration()
    await config.load_kube_config(str(kube.server.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as found:
        yield found


@pytest.fixture
async def apps(api: Any, kube: Kube) -> AsyncIterator[Any]:
    found = client.AppsV1Api(api)
    yield found
    await found.delete_collection_namespaced_deployment(kube.namespace)


async def apply(
    apps: Any, kube: Kube, manifest: dict[str, Any], manager: str = "kai-airflow", force: bool = True
) -> Any:
    return await apps.patch_namespaced_deployment(
        "d", kube.namespace, manifest, field_manager=manager, force=force, _content_type=APPLY
    )


async def test_apply_makes_what_is_not_there_and_changes_nothing_the_second_time(apps: Any, kube: Kube) -> None:
    made = await apply(apps, kube, MANIFEST)
    assert (made.metadata.generation, made.spec.replicas) == (1, 0)
    (entry,) = made.metadata.managed_fields
    assert (entry.manager, entry.operation, entry.api_version) == ("kai-airflow", "Apply", "apps/v1")
    async with watch.Watch().stream(
        apps.list_namespaced_deployment, kube.namespace, resource_version=made.metadata.resource_version
    ) as stream:
        async for event in stream:  # the controller's word on it
            if event["object"].status.observed_generation == 1:
                break
    settled = await apps.read_namespaced_deployment("d", kube.namespace)
    again = await apply(apps, kube, MANIFEST)
    assert again.metadata.resource_version == settled.metadata.resource_version
    assert again == settled


async def test_what_is_no_longer_said_goes_and_what_others_said_stays(apps: Any, kube: Kube) -> None:
    await apply(apps, kube, MANIFEST)
    await apps.patch_namespaced_deployment("d", kube.namespace, {"metadata": {"annotations": {"note": "mine"}}})
    less = copy.deepcopy(MANIFEST)
    del less["metadata"]["labels"]["team"]
    del less["spec"]["template"]["spec"]["containers"][0]["env"][0]
    found = await apply(apps, kube, less)
    assert found.metadata.labels == {"app": "d"}
    assert found.metadata.annotations == {"note": "mine"}
    assert [env.name for env in found.spec.template.spec.containers[0].env] == ["B"]
    assert found.metadata.generation == 2


async def test_what_was_changed_by_hand_is_put_right(apps: Any, kube: Kube) -> None:
    await apply(apps, kube, MANIFEST)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "shell"}]}}}}
    await apps.patch_namespaced_deployment("d", kube.namespace, change)
    with pytest.raises(ApiException) as refused:
        await apply(apps, kube, MANIFEST, force=False)
    assert refused.value.status == 409
    (cause,) = json.loads(str(refused.value.body))["details"]["causes"]
    assert cause["field"] == '.spec.template.spec.containers[name="c"].image'
    found = await apply(apps, kube, MANIFEST)
    assert found.spec.template.spec.containers[0].image == "python"


async def test_replicas_that_are_not_said_are_others_to_set(apps: Any, kube: Kube) -> None:
    silent = copy.deepcopy(MANIFEST)
    del silent["spec"]["replicas"]
    silent["spec"]["template"]["spec"]["containers"][0]["args"] = ["import signal; signal.pause()"]
    assert (await apply(apps, kube, silent)).spec.replicas == 1
    await apps.patch_namespaced_deployment_scale("d", kube.namespace, {"spec": {"replicas": 2}})
    assert (await apply(apps, kube, silent)).spec.replicas == 2
    assert (await apply(apps, kube, MANIFEST)).spec.replicas == 0
    assert (await apply(apps, kube, silent)).spec.replicas == 1


async def test_every_kind_can_be_applied(api: Any, kube: Kube) -> None:
    about = {"name": "x"}
    backend = {"service": {"name": "x", "port": {"number": 80}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}
    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "/api/v1/namespaces/{}/secrets/x": ("v1", "Secret", {"data": {"k": "dg=="}}),
        "/api/v1/namespaces/{}/services/x": ("v1", "Service", {"spec": {"ports": [{"port": 80}]}}),
        "/apis/networking.k8s.io/v1/namespaces/{}/ingresses/x": (
            "networking.k8s.io/v1",
            "Ingress",
            {"spec": {"rules": rules}},
        ),
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/x": (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"spec": {"scaleTargetRef": target, "maxReplicas": 2}},
        ),
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases/x": (
            "coordination.k8s.io/v1",
            "Lease",
            {"spec": {"holderIdentity": "me"}},
        ),
    }
    for path, (version, kind, rest) in kinds.items():
        said = {"apiVersion": version, "kind": kind, "metadata": about, **rest}
        url, params = path.format(kube.namespace), {"fieldManager": "me", "force": "true"}
        answers = [
            kube.http.patch(url, params=params, content=yaml.safe_dump(said), headers={"Content-Type": APPLY})
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [201, 200], (kind, answers[-1].text)
        assert answers[0].json()["metadata"]["managedFields"] == answers[1].json()["metadata"]["managedFields"]
        kube.http.delete(url)


class TestBodies:
    def send(self, kube: Kube, body: str, **params: str) -> httpx.Response:
        url = f"/apis/apps/v1/namespaces/{kube.namespace}/deployments/d"
        params = {"fieldManager": "me", **params}
        return kube.http.patch(url, params=params, content=body, headers={"Content-Type": APPLY})

    def manifest(self, **more: Any) -> str:
        return yaml.safe_dump({**MANIFEST, **more})

    @pytest.mark.parametrize(
        "body",
        [
            "[",
            "- a",
            "a: !!python/object:os.system x",
            "a: &x [1]\nb: *x",
            "a: .nan",
            "? [a]\n: b",
            "a: 1\n---\nb: 2",
            "[" * 2000,
        ],
    )
    def test_what_is_no_object_is_refused(self, kube: Kube, body: str) -> None:
        assert self.send(kube, body).status_code == 400

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"apiVersion": None}, 400),
            ({"kind": None}, 400),
            ({"kind": "Pod"}, 400),
            ({"metadata": {"name": "other"}}, 400),
            ({"metadata": {"name": "d", "namespace": "other"}}, 400),
            ({"metadata": {"name": "d", "managedFields": [{}]}}, 400),
            ({"metadata": {"name": "d", "uid": "1"}}, 404),
            ({"spec": {}}, 422),
            ({"spec": {**MANIFEST["spec"], "paused": True}}, 501),
        ],
    )
    def test_what_does_not_fit_is_refused(self, kube: Kube, more: dict[str, Any], code: int) -> None:
        assert self.send(kube, self.manifest(**more)).status_code == code

    @pytest.mark.parametrize("params", [{"fieldManager": ""}, {"fieldManager": "x" * 129}, {"force": "maybe"}])
    def test_who_applies_must_be_said(self, kube: Kube, params: dict[str, str]) -> None:
        assert self.send(kube, self.manifest(), **params).status_code == 400

    def test_a_date_is_text(self, kube: Kube) -> None:
        body = self.manifest(metadata={"name": "d"}).replace("name: d", "name: d\n  annotations: {when: 2020-01-01}")
        assert self.send(kube, body).json()["metadata"]["annotations"] == {"when": "2020-01-01"}
        kube.http.delete(f"/apis/apps/v1/namespaces/{kube.namespace}/deployments/d")


class TestLeases:
    @pytest.fixture
    def leases(self, api: Any) -> Any:
        return client.CoordinationV1Api(api)

    def body(self, holder: str, version: str | None = None) -> dict[str, Any]:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
        return {"metadata": {"name": "l", "resourceVersion": version}, "spec": spec}

    async def test_of_many_who_take_it_at_once_one_has_it(self, leases: Any, kube: Kube) -> None:
        made = await leases.create_namespaced_lease(kube.namespace, self.body("nobody"))

        async def take(who: str) -> str | None:
            body = self.body(who, made.metadata.resource_version)
            try:
                return str((await leases.replace_namespaced_lease("l", kube.namespace, body)).spec.holder_identity)
            except ApiException as error:
                if error.status != 409:
                    raise
                return None

        taken = await asyncio.gather(*(take(f"bridge-{number}") for number in range(10)))
        (holder,) = filter(None, taken)
        assert (await leases.read_namespaced_lease("l", kube.namespace)).spec.holder_identity == holder

    async def test_a_replacement_must_say_which_state_it_replaces(self, leases: Any, kube: Kube) -> None:
        await leases.create_namespaced_lease(kube.namespace, self.body("a"))
        with pytest.raises(ApiException) as refused:
            await leases.replace_namespaced_lease("l", kube.namespace, self.body("b"))
        assert refused.value.status == 422
        assert "metadata.resourceVersion" in str(refused.value.body)

    async def test_a_second_one_can_not_be_created(self, leases: Any, kube: Kube) -> None:
        await leases.create_namespaced_lease(kube.namespace, self.body("a"))
        with pytest.raises(ApiException) as refused:
            await leases.create_namespaced_lease(kube.namespace, self.body("b"))
        assert refused.value.status == 409

    @pytest.mark.parametrize(
        "spec", [{"leaseDurationSeconds": 0}, {"renewTime": "yesterday"}, {"acquireTime": "2026-01-01T00:00:00"}]
    )
    def test_one_that_makes_no_sense_is_refused(self, kube: Kube, spec: dict[str, Any]) -> None:
        url = f"/apis/coordination.k8s.io/v1/namespaces/{kube.namespace}/leases"
        assert kube.http.post(url, json={"metadata": {"name": "l"}, "spec": spec}).status_code == 422

    def test_they_are_listed_in_all_namespaces_and_watched(self, kube: Kube) -> None:
        url = f"/apis/coordination.k8s.io/v1/namespaces/{kube.namespace}/leases"
        kube.http.post(url, json={"metadata": {"name": "l", "labels": {"own": kube.namespace}}})
        everywhere = kube.http.get(
            "/apis/coordination.k8s.io/v1/leases", params={"labelSelector": f"own={kube.namespace}"}
        ).json()
        assert (everywhere["kind"], everywhere["apiVersion"]) == ("LeaseList", "coordination.k8s.io/v1")
        assert [item["metadata"]["name"] for item in everywhere["items"]] == ["l"]
