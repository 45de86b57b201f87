"""The plan as Kubernetes objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from kai_airflow import kube
from kai_airflow.plan import Buckets, Process, Resources, Workflow, names

TRY_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NASTY = "{{ var.value.x }} ' \" : - # \u2028 \x85 \\ \n\t ${HOME} $(HOME) %s é 漢"

PROCESS = Process(
    name="splitter",
    type="task",
    image="registry/splitter:v1",
    config={"key": NASTY, "n": "1.50"},
    replicas=1,
    gpu=False,
    resources=Resources("100m", "200m", "100M", "200M"),
    node_selectors={"disk": "ssd"},
    secrets=("database",),
    object_store=None,
    buckets=Buckets(
        names.global_bucket("shop"),
        names.version_bucket("shop", "v1.0.0"),
        names.workflow_bucket("shop", "v1.0.0", "train"),
        names.process_bucket("shop", "v1.0.0", "train", "splitter"),
    ),
    feeds=(),
    replies=(),
    retries=None,
    retry_delay=None,
    start_timeout=None,
    execution_timeout=None,
    on_message_error="fail",
    deferrable=None,
)
WORKFLOW = Workflow(
    dag_id=names.dag_id("shop", "train"),
    product="shop",
    version="v1.0.0",
    name="train",
    type="training",
    mode="batch",
    description="",
    schedule=None,
    tags=(),
    version_config={},
    config={},
    live_stream=names.live_stream("shop", "v1.0.0", "train"),
    run_stream=names.run_stream("shop", "train"),
    processes=(PROCESS,),
)
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
