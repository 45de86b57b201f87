"""The plan as Kubernetes objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Any

import pytest
import yaml

from kai_airflow import krt, kube
from kai_airflow.plan import Process, compile_product, names

TRY_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NASTY = "{{ var.value.x }} ' \" : - # \u2028 \x85 \\ \n\t ${HOME} $(HOME) %s é 漢"

KRT = """
version: v1.0.0
description: text
workflows:
  - name: train
    type: training
    processes:
      - {name: start, type: trigger, image: i, resourceLimits: &r {CPU: {request: 1}, memory: {request: 1M}}}
      - name: splitter
        type: task
        image: registry/splitter:v1
        subscriptions: [start]
        nodeSelectors: {disk: ssd}
        secrets: [database]
        resourceLimits: {CPU: {request: 100m, limit: 200m}, memory: {request: 100M, limit: 200M}}
      - {name: end, type: exit, image: i, resourceLimits: *r, subscriptions: [splitter]}
"""
(WORKFLOW,) = compile_product(krt.check(KRT.encode(), PurePath("shop/krt.yaml")).require()).workflows
PROCESS = replace(WORKFLOW.processes[1], config={"key": NASTY, "n": "1.50"})
WIRING = kube.Wiring("nats://u:topsecret@n:4222", "S", "S.out", ("S.in",))


def app_config(process: Process = PROCESS, services: dict[str, Any] | None = None) -> dict[str, Any]:
    return kube.app_config(WORKFLOW, process, WIRING, services or {})


def test_app_yaml_has_every_key_that_the_sdks_demand() -> None:
    config = app_config()
    assert {section: set(keys) for section, keys in config.items()} == {
        "metadata": {
            "product_id",
            "version_tag",
            "workflow_name",
            "workflow_type",
            "process_name",
            "process_type",
        },
        "nats": {"url", "stream", "output", "inputs"},
        "centralized_configuration": {"global", "product", "workflow", "process"},
        "minio": {"endpoint", "client_user", "client_password", "ssl", "bucket"},
        "auth": {"endpoint", "client", "client_secret", "realm"},
        "predictions": {"endpoint", "username", "password", "index"},
        "measurements": {"endpoint", "insecure", "timeout", "metrics_interval"},
    }
    assert config["centralized_configuration"]["product"] == {"bucket": "key-store_shop_v1_0_0"}


def test_an_object_store_is_named_only_where_one_is_declared() -> None:
    store = names.object_store("shop", "v1.0.0", "train", "models", "workflow")
    config = app_config(replace(PROCESS, object_store=store))
    assert config["nats"]["object_store"] == "shop_v1_0_0_train_models"


def test_a_configured_service_replaces_the_placeholders_key_by_key() -> None:
    config = app_config(services={"minio": {"endpoint": "minio:9000", "client_password": "real"}})
    assert config["minio"]["endpoint"] == "minio:9000"
    assert config["minio"]["client_user"] == "none"


def test_a_config_value_arrives_as_that_very_text() -> None:
    owner = kube.PodReference("p", "ns", "uid")
    secret = kube.secret("splitter", TRY_ID, owner, app_config(), None)
    read = yaml.safe_load(secret["stringData"]["app.yaml"])
    assert read["centralized_configuration"]["process"]["config"] == {"key": NASTY, "n": "1.50"}


@pytest.mark.parametrize("value", ["1e3", "0o17", "12345e6", "2026-1-2", "1_000", "yes", "null", "0x1F", "~", ""])
def test_text_that_reads_like_a_number_is_quoted_for_readers_of_another_yaml(value: str) -> None:
    """The Go SDK's reader takes plain ``1e3`` for a number."""
    config = app_config(replace(PROCESS, config={"k": value}))
    secret = kube.secret("splitter", TRY_ID, kube.PodReference("p", "ns", "uid"), config, None)
    assert f'"k": "{value}"' in secret["stringData"]["app.yaml"]


def test_the_secret_goes_with_its_pod_and_the_pod_waits_for_its_secret() -> None:
    pod = kube.pod(WORKFLOW, PROCESS, TRY_ID)
    secret = kube.secret("splitter", TRY_ID, kube.PodReference("p", "ns", "uid-1"), app_config(), "[]")
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    (volume,) = pod["spec"]["volumes"]
    assert volume["secret"] == {"secretName": secret["metadata"]["name"]}
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "KAI_APP_CONFIG_PATH", "value": mount["mountPath"]} in pod["spec"]["containers"][0]["env"]


def test_no_secret_stands_in_the_pod() -> None:
    assert "topsecret" not in str(kube.pod(WORKFLOW, PROCESS, TRY_ID))
    assert "topsecret" not in repr(WIRING)


def test_the_pod_has_kais_labels_and_a_name_that_kubernetes_takes() -> None:
    longest = replace(PROCESS, name="a" * 20)
    metadata = kube.pod(WORKFLOW, longest, TRY_ID)["metadata"]
    assert len(metadata["name"]) <= 63
    assert {key: metadata["labels"][key] for key in ("product", "version", "workflow", "process", "type")} == {
        "product": "shop",
        "version": "v1.0.0",
        "workflow": "train",
        "process": "a" * 20,
        "type": "task",
    }


def test_resources_selectors_and_secrets_are_the_krts() -> None:
    spec = kube.pod(WORKFLOW, PROCESS, TRY_ID)["spec"]
    (container,) = spec["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "100M"},
        "limits": {"cpu": "200m", "memory": "200M"},
    }
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert container["envFrom"] == [{"secretRef": {"name": "database"}}]
    assert spec["automountServiceAccountToken"] is False


def test_a_gpu_comes_with_its_node_and_tolerations() -> None:
    spec = kube.pod(WORKFLOW, replace(PROCESS, gpu=True), TRY_ID)["spec"]
    resources = spec["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert spec["nodeSelector"] == {"konstellation.io/gpu": "true", "disk": "ssd"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["konstellation.io/gpu", "nvidia.com/gpu"]


def test_requests_come_from_the_pods_secret_where_they_fit() -> None:
    (container,) = kube.pod(WORKFLOW, PROCESS, TRY_ID)["spec"]["containers"]
    (requests,) = [one for one in container["env"] if one["name"] == "KAI_REQUESTS"]
    reference = requests["valueFrom"]["secretKeyRef"]
    owner = kube.PodReference("p", "ns", "uid")
    fitting = kube.secret("splitter", TRY_ID, owner, app_config(), "[1]")
    assert fitting["metadata"]["name"] == reference["name"]
    assert fitting["stringData"][reference["key"]] == "[1]"
    assert reference["optional"] is True
    assert reference["key"] not in kube.secret("splitter", TRY_ID, owner, app_config(), None)["stringData"]


def test_the_names_of_pods_that_share_a_task_fit_too() -> None:
    assert len(kube.object_name("a" * 20, f"{TRY_ID}-9999")) <= 63


def test_a_pod_says_which_task_it_works_for_and_others_say_nothing() -> None:
    task = kube.TaskName(
        "https://airflow.example.com", "shop.train", "manual__2026-01-01T00:00:00.000000+00:00", "splitter"
    )
    assert kube.task_of(kube.task_annotations(task)) == task
    assert kube.task_of({"kai-airflow/dag_id": "shop.train"}) is None


TEMPLATE = {
    "metadata": {"labels": {"team": "ml", "product": "other"}, "annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "serviceAccountName": "trainer",
        "terminationGracePeriodSeconds": 60,
        "restartPolicy": "Always",
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "nodeSelector": {"zone": "a", "disk": "hdd"},
        "volumes": [{"name": "cache", "emptyDir": {}}, {"name": "config", "emptyDir": {}}],
        "initContainers": [{"name": "warm", "image": "warm:v1"}],
        "containers": [
            {"name": "proxy", "image": "proxy:v1"},
            {
                "name": "process",
                "image": "other",
                "env": [{"name": "MODE", "value": "{{ var.value.x }}"}, {"name": "KAI_APP_CONFIG_PATH", "value": "/"}],
                "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                "resources": {"requests": {"cpu": "64", "ephemeral-storage": "1Gi"}},
            },
        ],
    },
}


def test_a_pod_template_adds_what_a_krt_has_no_words_for() -> None:
    pod = kube.pod(WORKFLOW, replace(PROCESS, pod=TEMPLATE), TRY_ID)
    spec, (process, proxy) = pod["spec"], pod["spec"]["containers"]
    assert pod["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert pod["metadata"]["labels"]["team"] == "ml"
    assert (spec["serviceAccountName"], spec["terminationGracePeriodSeconds"]) == ("trainer", 60)
    assert spec["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert spec["nodeSelector"] == {"zone": "a", "disk": "ssd"}
    assert spec["initContainers"] == [{"name": "warm", "image": "warm:v1"}]
    assert {"name": "cache", "emptyDir": {}} in spec["volumes"]
    assert {"name": "MODE", "value": "{{ var.value.x }}"} in process["env"]
    assert {"name": "cache", "mountPath": "/cache"} in process["volumeMounts"]
    assert process["resources"]["requests"] == {"cpu": "100m", "memory": "100M", "ephemeral-storage": "1Gi"}
    assert proxy == {"name": "proxy", "image": "proxy:v1"}


def test_a_pod_template_stands_under_what_the_krt_says_and_what_a_try_needs() -> None:
    plain = kube.pod(WORKFLOW, PROCESS, TRY_ID)
    pod = kube.pod(WORKFLOW, replace(PROCESS, pod=TEMPLATE), TRY_ID)
    spec, process = pod["spec"], pod["spec"]["containers"][0]
    assert (pod["metadata"]["labels"]["product"], pod["metadata"]["name"]) == ("shop", plain["metadata"]["name"])
    assert (spec["restartPolicy"], process["image"]) == ("Never", "registry/splitter:v1")
    assert [env for env in process["env"] if env["name"] == "KAI_APP_CONFIG_PATH"] == [
        {"name": "KAI_APP_CONFIG_PATH", "value": "/etc/kai"}
    ]
    # Of an entry of one kind or another, the one that is needed is all there is.
    (config,) = [volume for volume in spec["volumes"] if volume["name"] == "config"]
    assert config == {"name": "config", "secret": {"secretName": pod["metadata"]["name"]}}


def test_a_template_changes_no_other_pod() -> None:
    before = kube.pod(WORKFLOW, PROCESS, TRY_ID)
    kube.pod(WORKFLOW, replace(PROCESS, pod=TEMPLATE), TRY_ID)["spec"]["tolerations"].append("mine")
    assert kube.pod(WORKFLOW, PROCESS, TRY_ID) == before
    assert kube.pod(WORKFLOW, replace(PROCESS, pod=TEMPLATE), TRY_ID)["spec"]["tolerations"] == [
        {"key": "spot", "operator": "Exists"}
    ]


def test_a_version_too_long_for_a_label_is_shortened() -> None:
    versions = [replace(WORKFLOW, version=f"v1.0.{'1' * length}") for length in (80, 81)]
    label, other = (kube.pod(w, PROCESS, TRY_ID)["metadata"]["labels"]["version"] for w in versions)
    assert len(label) == 63
    assert label.startswith("v1.0.111")
    assert label != other
