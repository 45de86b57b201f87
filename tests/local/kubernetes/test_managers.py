"""Field ownership alone: objects in, objects out."""

from __future__ import annotations

from typing import Any

import pytest

from kai_airflow.local.kubernetes import fields, managers
from kai_airflow.local.kubernetes.errors import ApiError
from kai_airflow.local.kubernetes.managers import Applier

EMPTY: dict[str, Any] = {"metadata": {}}


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def apply(old: dict[str, Any], who: str, *, force: bool = False, **spec: Any) -> dict[str, Any]:
    return managers.applied(old, deployment(**spec), Applier(who, force))


def change(old: dict[str, Any], who: str, **spec: Any) -> dict[str, Any]:
    return managers.updated(old, {**old, "spec": {**old["spec"], **spec}}, who)


def owned_by(obj: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_what_a_manager_says_is_told_as_kubernetes_writes_it() -> None:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "args": ["a"]}
    obj = apply(EMPTY, "me", replicas=1, selector={"matchLabels": {"a": "b"}}, template={"containers": [container]})
    (entry,) = obj["metadata"]["managedFields"]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Apply", "apps/v1", "FieldsV1")
    port = 'k:{"containerPort":80,"protocol":"TCP"}'
    assert entry["fieldsV1"] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {port: {".": {}, "f:containerPort": {}}},
                    }
                }
            },
        }
    }
    assert fields.tree(fields.paths(entry["fieldsV1"])) == entry["fieldsV1"]


def test_a_field_that_is_no_longer_said_goes() -> None:
    obj = apply(EMPTY, "me", replicas=1, template={"a": {"b": 1}, "c": 2})
    assert apply(obj, "me", template={"c": 2})["spec"] == {"template": {"c": 2}}


def test_a_field_that_another_owns_too_stays() -> None:
    obj = apply(apply(EMPTY, "me", replicas=1), "you", replicas=1)
    assert apply(obj, "me", paused=False)["spec"] == {"replicas": 1, "paused": False}


def test_what_nobody_owns_stays() -> None:
    obj = {**deployment(replicas=1), "metadata": {"name": "d"}}
    assert apply(obj, "me", paused=False)["spec"] == {"replicas": 1, "paused": False}


def test_a_value_that_another_set_is_a_conflict_and_force_takes_it() -> None:
    obj = change(apply(EMPTY, "me", replicas=1), "kubectl", replicas=3)
    assert owned_by(obj) == {"kubectl": {"f:spec": {"f:replicas": {}}}}
    with pytest.raises(ApiError) as refused:
        apply(obj, "me", replicas=1)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas'
    (cause,) = refused.value.details["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.replicas")
    forced = apply(obj, "me", force=True, replicas=1)
    assert forced["spec"] == {"replicas": 1}
    assert owned_by(forced) == {"me": {"f:spec": {"f:replicas": {}}}}


def test_the_same_value_is_no_conflict_but_shared() -> None:
    obj = apply(apply(EMPTY, "me", replicas=1), "you", replicas=1)
    assert owned_by(obj) == {"me": {"f:spec": {"f:replicas": {}}}, "you": {"f:spec": {"f:replicas": {}}}}


def test_who_scales_keeps_the_replicas_when_the_applier_lets_go_of_them() -> None:
    obj = change(apply(EMPTY, "me", replicas=1, paused=False), "autoscaler", replicas=3)
    assert apply(obj, "me", paused=False)["spec"] == {"replicas": 3, "paused": False}


def test_the_same_apply_changes_nothing() -> None:
    obj = apply(EMPTY, "me", replicas=1, template={"containers": [{"name": "c", "env": [{"name": "A"}]}]})
    obj["metadata"]["managedFields"][0]["time"] = "2020-01-01T00:00:00Z"
    again = apply(obj, "me", replicas=1, template={"containers": [{"name": "c", "env": [{"name": "A"}]}]})
    assert again == obj


class TestLists:
    def env(self, *names: str) -> dict[str, Any]:
        return {"env": [{"name": name, "value": name} for name in names]}

    def test_elements_are_owned_one_by_one(self) -> None:
        obj = apply(apply(EMPTY, "me", **self.env("A", "B")), "you", **self.env("C"))
        assert apply(obj, "me", **self.env("B"))["spec"] == self.env("B", "C")

    def test_the_order_is_the_applier_s(self) -> None:
        obj = apply(EMPTY, "me", **self.env("A", "B"))
        assert apply(obj, "me", **self.env("C", "B", "A"))["spec"] == self.env("C", "B", "A")

    def test_an_element_stays_as_long_as_another_owns_a_part_of_it(self) -> None:
        obj = apply(EMPTY, "me", containers=[{"name": "c", "image": "1", "tty": True}])
        obj = apply(obj, "you", force=True, containers=[{"name": "c", "image": "2"}])
        assert apply(obj, "me")["spec"] == {"containers": [{"name": "c", "image": "2"}]}

    def test_an_element_of_which_another_changed_a_field_keeps_its_key(self) -> None:
        obj = apply(EMPTY, "me", containers=[{"name": "c", "image": "1", "tty": True}])
        obj = change(obj, "kubectl", containers=[{"name": "c", "image": "2", "tty": True}])
        assert apply(obj, "me")["spec"] == {"containers": [{"name": "c", "image": "2"}]}

    def test_other_lists_are_one_field(self) -> None:
        obj = apply(EMPTY, "me", args=["a", "b"])
        assert apply(obj, "me", args=["b"])["spec"] == {"args": ["b"]}
        with pytest.raises(ApiError):
            apply(obj, "you", args=["a"])

    @pytest.mark.parametrize("elements", [[{"value": "x"}], ["text"], [{"name": "A"}, {"name": "A"}]])
    def test_elements_without_a_key_or_alike_are_refused(self, elements: list[Any]) -> None:
        with pytest.raises(ApiError) as refused:
            apply(EMPTY, "me", env=elements)
        assert refused.value.code == 400

    def test_ports_of_a_service_have_a_key_of_their_own(self) -> None:
        obj = apply(EMPTY, "me", ports=[{"port": 80}, {"port": 81}])
        assert apply(obj, "me", ports=[{"port": 81}])["spec"] == {"ports": [{"port": 81}]}


def test_an_update_takes_what_it_changes_and_forgets_what_it_removes() -> None:
    obj = apply(EMPTY, "me", replicas=1, paused=False, template={"a": 1})
    new = {**obj, "spec": {"replicas": 2, "template": {"a": 1}}}
    assert owned_by(managers.updated(obj, new, "kubectl")) == {
        "me": {"f:spec": {"f:template": {"f:a": {}}}},
        "kubectl": {"f:spec": {"f:replicas": {}}},
    }


def test_labels_and_annotations_are_owned_and_the_rest_of_the_metadata_is_not() -> None:
    metadata = {"name": "d", "uid": "1", "labels": {"a": "b"}, "annotations": {"c/d": "e"}}
    said = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    obj = managers.applied(EMPTY, said, Applier("me", force=False))
    assert owned_by(obj) == {"me": {"f:metadata": {"f:labels": {"f:a": {}}, "f:annotations": {"f:c/d": {}}}}}
