"""Objects over HTTP: verbs, selectors, conflicts, patches, owners, and requests that make no sense."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes.client import ApiException

if TYPE_CHECKING:
    import httpx

    from tests.local.kubernetes.conftest import Kube

DATA = base64.b64encode(b"value").decode()


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Code and reason of a Status; the HTTP code agrees."""
    status = response.json()
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", response.status_code)
    assert status["message"]
    return response.status_code, status["reason"]


def secret(name: str = "s", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "data": {"key": DATA}}


@pytest.fixture
def secrets(kube: Kube) -> str:
    return f"{kube.url}/secrets"


def test_a_secret_from_creation_to_deletion(kube: Kube) -> None:
    core, space = kube.core, kube.namespace
    body = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"key": "value"})
    created = core.create_namespaced_secret(space, body)
    assert (created.data, created.string_data, created.type) == ({"key": DATA}, None, "Opaque")
    assert created.metadata.uid
    assert created.metadata.creation_timestamp
    created.data["more"] = DATA
    replaced = core.replace_namespaced_secret("s", space, created)
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    assert replaced.metadata.uid == created.metadata.uid
    assert core.read_namespaced_secret("s", space) == replaced
    gone = core.delete_namespaced_secret("s", space)
    assert (gone.status, gone.details.uid) == ("Success", created.metadata.uid)
    with pytest.raises(ApiException) as absent:
        core.read_namespaced_secret("s", space)
    assert absent.value.status == 404


def test_health_and_version_need_no_token_and_the_rest_does(kube: Kube) -> None:
    anybody = {"Authorization": ""}
    for path in ("/readyz", "/healthz", "/livez"):
        assert kube.http.get(path, headers=anybody).text == "ok"
    assert kube.http.get("/version", headers=anybody).json()["gitVersion"].endswith("+kai-local")
    assert client.VersionApi(kube.api_client).get_code().minor == "36"
    for given in ("", "Bearer wrong", f"Basic {kube.server.token}", "Bearer \xe9"):
        headers = {b"Authorization": given.encode("latin-1")}
        assert refusal(kube.http.get(f"{kube.url}/pods", headers=headers)) == (401, "Unauthorized")


def test_the_kubeconfig_is_for_its_owner_only(kube: Kube) -> None:
    assert kube.server.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_a_generated_name(kube: Kube, secrets: str) -> None:
    names = {
        kube.http.post(secrets, json={"metadata": {"generateName": "made-"}}).json()["metadata"]["name"]
        for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("made-") and len(name) == 10 for name in names)
    long = kube.http.post(secrets, json={"metadata": {"generateName": "x" * 200}}).json()["metadata"]["name"]
    assert len(long) == 63


def test_a_name_that_is_taken(kube: Kube, secrets: str) -> None:
    assert kube.http.post(secrets, json=secret()).status_code == 201
    assert refusal(kube.http.post(secrets, json=secret())) == (409, "AlreadyExists")


def test_a_write_to_an_old_state_is_a_conflict(kube: Kube, secrets: str) -> None:
    old = kube.http.post(secrets, json=secret()).json()
    new = kube.http.put(f"{secrets}/s", json={**old, "data": {}}).json()
    assert refusal(kube.http.put(f"{secrets}/s", json=old)) == (409, "Conflict")
    assert refusal(kube.http.put(f"{secrets}/s", json=secret(uid="other"))) == (409, "Conflict")
    assert refusal(kube.http.put(f"{secrets}/absent", json=secret("absent"))) == (404, "NotFound")
    unconditional = kube.http.put(f"{secrets}/s", json=secret())
    assert unconditional.json()["metadata"]["uid"] == new["metadata"]["uid"]
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert refusal(kube.http.patch(f"{secrets}/s", json=stale, headers=merge)) == (409, "Conflict")


def test_a_write_that_changes_nothing_is_no_new_version(kube: Kube, secrets: str) -> None:
    old = kube.http.post(secrets, json=secret()).json()
    assert kube.http.put(f"{secrets}/s", json=old).json() == old


def test_deletion_keeps_to_its_preconditions(kube: Kube, secrets: str) -> None:
    uid = kube.http.post(secrets, json=secret()).json()["metadata"]["uid"]
    wrong, right = ({"preconditions": {"uid": text}} for text in ("other", uid))
    assert refusal(kube.http.request("DELETE", f"{secrets}/s", json=wrong)) == (409, "Conflict")
    assert kube.http.request("DELETE", f"{secrets}/s", json=right).json()["status"] == "Success"


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "abc"), ("app=x", "ab"), ("app==x", "ab"), ("app!=x", "c"), ("app=", ""),
        ("app in (x, y)", "ab"), ("app notin (x)", "c"), ("tier in (1,)", "a"), ("app in (x),tier=1", "a"),
        ("tier", "a"), ("!tier", "bc"), ("app=x,!tier", "b"),
    ],
)  # fmt: skip
def test_label_selectors(kube: Kube, secrets: str, selector: str, names: str) -> None:
    for name, labels in (("a", {"app": "x", "tier": "1"}), ("b", {"app": "x"}), ("c", {})):
        kube.http.post(secrets, json=secret(name, labels=labels))
    items = kube.core.list_namespaced_secret(kube.namespace, label_selector=selector).items
    assert "".join(item.metadata.name for item in items) == names


@pytest.mark.parametrize(
    "selector", ["a b", "=", "a in x", "a in (", "a in (é)", "a=b=c", "(", ",", "a,,b", "a>1", "x" * 70]
)
def test_a_label_selector_that_makes_no_sense(kube: Kube, secrets: str, selector: str) -> None:
    assert refusal(kube.http.get(secrets, params={"labelSelector": selector})) == (400, "BadRequest")


def test_field_selectors(kube: Kube) -> None:
    for name, code in (("good", ""), ("bad", "raise SystemExit(1)")):
        kube.create(code, name=name)
        kube.ended(name)

    def names(selector: str) -> list[str]:
        found = kube.core.list_pod_for_all_namespaces(field_selector=f"metadata.namespace={kube.namespace},{selector}")
        return [pod.metadata.name for pod in found.items]

    assert names("status.phase=Failed") == ["bad"]
    assert names("status.phase!=Failed") == ["good"]
    assert names("metadata.name=good,spec.nodeName=local") == ["good"]
    assert names("spec.nodeName=other") == []
    assert {event.involved_object.name for event in kube.events("bad")} == {"bad"}
    for selector in ("spec.other=1", "nonsense"):
        response = kube.http.get(f"{kube.url}/pods", params={"fieldSelector": selector})
        assert refusal(response) == (400, "BadRequest")


def test_a_collection_is_deleted_by_selector(kube: Kube, secrets: str) -> None:
    for name in ("a", "b", "c"):
        kube.http.post(secrets, json=secret(name, labels={"keep": str(name == "b").lower()}))
    kube.core.delete_collection_namespaced_secret(kube.namespace, label_selector="keep=false")
    assert [item.metadata.name for item in kube.core.list_namespaced_secret(kube.namespace).items] == ["b"]


class TestPatches:
    """PATCH by content type."""

    @pytest.fixture
    def pod(self, kube: Kube) -> str:
        """The pod's URL."""
        metadata = {"labels": {"a": "1", "b": "2"}, "annotations": {"note": "old"}}
        kube.create("import signal; signal.pause()", metadata=metadata)
        return f"{kube.url}/pods/p"

    @pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch"])
    def test_labels_and_annotations_are_merged(self, kube: Kube, pod: str, kind: str) -> None:
        headers = {"Content-Type": f"application/{kind}+json"}
        patch = {"metadata": {"labels": {"a": None, "c": "3"}, "annotations": {"note": "new"}}}
        new = kube.http.patch(pod, json=patch, headers=headers).json()["metadata"]
        assert (new["labels"], new["annotations"]) == ({"b": "2", "c": "3"}, {"note": "new"})

    def test_the_client_s_own_patch_works(self, kube: Kube, pod: str) -> None:  # noqa: ARG002 - it is there
        patched = kube.core.patch_namespaced_pod(
            "p", kube.namespace, {"metadata": {"labels": {"already_checked": "True"}}}
        )
        assert patched.metadata.labels["already_checked"] == "True"
        assert patched.metadata.labels["a"] == "1"

    def test_the_spec_stays(self, kube: Kube, pod: str) -> None:
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        patch = {"spec": {"containers": [{"name": "base", "image": "other"}]}}
        assert refusal(kube.http.patch(pod, json=patch, headers=headers)) == (422, "Invalid")
        same = {"spec": {"containers": [{"name": "base", "image": "python"}]}}
        assert kube.http.patch(pod, json=same, headers=headers).status_code == 200

    def test_the_status_is_the_server_s(self, kube: Kube, pod: str) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        patched = kube.http.patch(pod, json={"status": {"phase": "Succeeded"}}, headers=headers)
        assert patched.json()["status"]["phase"] != "Succeeded"

    @pytest.mark.parametrize(
        "kind", ["application/json-patch+json", "application/apply-patch+cbor", "application/json"]
    )
    def test_other_kinds_are_refused(self, kube: Kube, pod: str, kind: str) -> None:
        response = kube.http.patch(pod, content=b"[]", headers={"Content-Type": kind})
        assert refusal(response) == (415, "UnsupportedMediaType")

    def test_a_patch_that_breaks_a_rule_is_refused_whole(self, kube: Kube, pod: str) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        patch = {"metadata": {"labels": {"ok": "1", "bad": "no good"}}}
        assert refusal(kube.http.patch(pod, json=patch, headers=headers)) == (422, "Invalid")
        assert "ok" not in kube.core.read_namespaced_pod("p", kube.namespace).metadata.labels


class TestOwners:
    """The garbage collector."""

    def owned(self, kube: Kube, uid: str, name: str = "s", kind: str = "Pod") -> Any:
        owner = {"apiVersion": "v1", "kind": kind, "name": "p", "uid": uid}
        return kube.core.create_namespaced_secret(kube.namespace, secret(name, ownerReferences=[owner]))

    def until_gone(self, kube: Kube, name: str = "s") -> None:
        params: dict[str, str] = {"watch": "true", "timeoutSeconds": "10", "fieldSelector": f"metadata.name={name}"}
        params["resourceVersion"] = str(int(kube.http.get(f"{kube.url}/secrets").json()["metadata"]["resourceVersion"]))
        if kube.http.get(f"{kube.url}/secrets/{name}").status_code == 404:
            return
        with kube.http.stream("GET", f"{kube.url}/secrets", params=params) as response:
            assert any(json.loads(line)["type"] == "DELETED" for line in response.iter_lines())

    def test_what_a_pod_owns_goes_with_the_pod(self, kube: Kube) -> None:
        pod = kube.create("")
        self.owned(kube, pod.metadata.uid)
        kube.ended()
        assert kube.core.read_namespaced_secret("s", kube.namespace)
        kube.delete()
        self.until_gone(kube)

    def test_what_belongs_to_an_owner_that_is_gone_goes_at_once(self, kube: Kube) -> None:
        self.owned(kube, "no-such-uid")
        self.until_gone(kube)

    def test_an_owned_pod_ends_with_its_owner(self, kube: Kube) -> None:
        owner = kube.secret("owner")
        reference = {"apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner.metadata.uid}
        kube.create("import signal; signal.pause()", metadata={"ownerReferences": [reference]})
        kube.running()
        kube.core.delete_namespaced_secret("owner", kube.namespace)
        kube.gone()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": {"name": "Upper"}}, "metadata.name"),
        ({"metadata": {"name": "a/b"}}, "metadata.name"),
        ({"metadata": {"name": "a" * 254}}, "metadata.name"),
        ({"metadata": {"name": 7}}, "metadata.name"),
        ({"metadata": {}}, "metadata.name"),
        ({}, "metadata.name"),
        ({"metadata": {"name": "s", "labels": {"a": "no good"}}}, "metadata.labels.a"),
        ({"metadata": {"name": "s", "labels": {"a": 1}}}, "metadata.labels.a"),
        ({"metadata": {"name": "s", "labels": []}}, "metadata.labels"),
        ({"metadata": {"name": "s", "annotations": {"a": "x" * (257 << 10)}}}, "metadata"),
        ({"metadata": {"name": "s", "ownerReferences": [{"kind": "Pod"}]}}, "metadata.ownerReferences[0].uid"),
        ({"metadata": {"name": "s"}, "data": {"key": "not base64!"}}, "data.key"),
        ({"metadata": {"name": "s"}, "data": {"key": 1}}, "data.key"),
        ({"metadata": {"name": "s"}, "stringData": {"..": "x"}}, "stringData....[key]"),
        ({"metadata": {"name": "s"}, "stringData": {"big": "x" * (1025 << 10)}}, "the object"),
    ],
)
def test_an_object_that_breaks_a_rule_is_refused_with_its_place(
    kube: Kube, secrets: str, body: dict[str, Any], field: str
) -> None:
    response = kube.http.post(secrets, json=body)
    assert refusal(response) == (422, "Invalid")
    assert field in [cause["field"] or "the object" for cause in response.json()["details"]["causes"]]


def test_a_refusal_never_repeats_a_secret(kube: Kube, secrets: str) -> None:
    body = {"metadata": {"name": "s"}, "data": {"key": "hunter2-no-base64!"}, "stringData": {"other": ["hunter2"]}}
    assert "hunter2" not in kube.http.post(secrets, json=body).text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"\xff\xfe", 400),
        (b'{"metadata": {"name": NaN}}', 400),
        (b'{"metadata": {"name": "s", "annotations": {"a": "\\ud800"}}}', 400),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 400),
        (b"[" * 100_000, 400),
        (b'{"kind": "Pod"}', 400),
        (b'{"apiVersion": "v2"}', 400),
        (b'{"metadata": "text"}', 400),
        (b'{"metadata": {"name": "s", "namespace": "other"}}', 400),
        (b'{"metadata": {"name": "s", "finalizers": ["a/b"]}}', 501),
        (b" " * (4 << 20), 413),
    ],
)
def test_a_body_that_makes_no_sense_is_a_status(kube: Kube, secrets: str, content: bytes, code: int) -> None:
    response = kube.http.post(secrets, content=content, headers={"Content-Type": "application/json"})
    assert refusal(response)[0] == code


def test_a_body_that_is_no_json_by_its_type(kube: Kube, secrets: str) -> None:
    response = kube.http.post(secrets, content=b"a: b", headers={"Content-Type": "application/yaml"})
    assert refusal(response) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/nodes", 404),
        ("GET", "/api/v1/namespaces/x/configmaps", 404),
        ("GET", "/apis/apps/v1/namespaces/x/statefulsets", 404),
        ("GET", "/apis/apps/v1beta1/namespaces/x/deployments", 404),
        ("GET", "/api/v1/namespaces/x/deployments", 404),
        ("GET", "/apis/apps/v1/namespaces/x/pods", 404),
        ("GET", "/nonsense", 404),
        ("GET", "/api/v1/namespaces/x/pods/absent", 404),
        ("GET", "/api/v1/namespaces/x/pods/absent/log", 404),
        ("GET", "/api/v1/namespaces/x/pods/a%2Fb", 404),
        ("GET", "/api/v1/namespaces/x/pods/a/nonsense", 404),
        ("DELETE", "/api/v1/namespaces/x/secrets/absent", 404),
        ("POST", "/api/v1/pods", 405),
        ("GET", "/api/v1/namespaces/x/pods/p/exec", 501),
        ("POST", "/api/v1/namespaces/x/pods/p/exec", 501),
        ("POST", "/api/v1/namespaces/x/pods/p/attach", 501),
        ("GET", "/api/v1/namespaces/x/pods/p/portforward", 501),
        ("POST", "/api/v1/namespaces/x/pods/p/eviction", 501),
        ("POST", "/api/v1/namespaces/x/secrets?dryRun=All", 501),
        ("GET", "/api/v1/pods?continue=abc", 501),
        ("GET", "/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact", 501),
        ("GET", "/api/v1/pods?watch=maybe", 400),
        ("GET", "/api/v1/pods?watch=true&resourceVersion=abc", 400),
        ("GET", "/api/v1/pods?watch=true&timeoutSeconds=-1", 400),
        ("DELETE", "/api/v1/namespaces/x/secrets/s?gracePeriodSeconds=soon", 400),
        ("DELETE", "/api/v1/namespaces/x/pods?propagationPolicy=Orphan", 501),
        ("DELETE", "/api/v1/namespaces/x/pods?propagationPolicy=Other", 422),
    ],
)
def test_what_is_not_there_is_a_status(kube: Kube, method: str, path: str, code: int) -> None:
    assert refusal(kube.http.request(method, path))[0] == code


def test_a_namespace_that_is_no_name(kube: Kube) -> None:
    response = kube.http.post("/api/v1/namespaces/Not_A_Name/secrets", json=secret())
    assert refusal(response) == (422, "Invalid")


def test_events_can_be_written_too(kube: Kube) -> None:
    pod = kube.create("")
    involved = {"kind": "Pod", "namespace": kube.namespace, "name": "p", "uid": pod.metadata.uid}
    body = {"metadata": {"generateName": "p."}, "involvedObject": involved, "reason": "Noted", "message": "text"}
    assert refusal(kube.http.post(f"{kube.url}/events", json={**body, "involvedObject": "p"})) == (422, "Invalid")
    assert kube.http.post(f"{kube.url}/events", json=body).status_code == 201
    assert "Noted" in {event.reason for event in kube.events()}


def test_an_immutable_secret_keeps_its_data(kube: Kube, secrets: str) -> None:
    kube.http.post(secrets, json={**secret(), "immutable": True})
    assert refusal(kube.http.put(f"{secrets}/s", json={**secret(), "immutable": True, "data": {}})) == (422, "Invalid")
