"""The objects of long-lived processes, held against the models of the Kubernetes client."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from kai_airflow import kube
from kai_airflow.kube import live
from kai_airflow.kube.found import is_of, is_ready, stream_of, works
from tests.kube.shop import SITE, WORKFLOW, process, read

REST, GRPC, WORK = process("rest"), process("grpc"), process("work")


def manifests() -> list[dict[str, Any]]:
    made = [live.deployment(WORKFLOW, one, SITE, "1") for one in WORKFLOW.processes]
    data = live.config_data(app_config())
    made += [live.config_secret(WORKFLOW, WORK, SITE, data, "1"), live.autoscaler(WORKFLOW, WORK, SITE)]
    made += [live.service(WORKFLOW, one, SITE) for one in (REST, GRPC)]
    return made


def app_config() -> dict[str, Any]:
    return kube.app_config(WORKFLOW, WORK, kube.Wiring("nats://u:topsecret@n:4222", "S", "S.out", ("S.in",)), {})


@pytest.mark.parametrize("manifest", manifests(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_object_is_one_that_kubernetes_knows(manifest: dict[str, Any]) -> None:
    assert read(manifest) == manifest
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", manifest["metadata"]["name"])
    assert is_of(manifest, SITE)
    assert not is_of(manifest, live.site_label("https://other.example.com"))


def test_a_deployment_is_kais_with_labels_of_its_own() -> None:
    made = live.deployment(WORKFLOW, REST, SITE, "7")
    own = {
        "product": "shop",
        "version": "v1.0.0",
        "workflow": "serve",
        "process": "rest",
        "type": "trigger",
        "app.kubernetes.io/managed-by": "kai-airflow",
        "kai-airflow/site": SITE,
    }
    assert made["metadata"]["name"] == "shop-v1-0-0-serve-rest"
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"] == own
    origin = {"kai-airflow/dag": "shop.serve", "kai-airflow/stream": "shop_v1_0_0_serve"}
    assert made["metadata"]["annotations"] == origin
    assert stream_of(made) == stream_of(made["spec"]["template"]) == WORKFLOW.live_stream
    pod = made["spec"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Always", False)
    assert pod["volumes"] == [{"name": "config", "secret": {"secretName": "shop-v1-0-0-serve-rest"}}]
    assert {"name": "KAI_APP_CONFIG_PATH", "value": "/etc/kai"} in pod["containers"][0]["env"]
    assert made["spec"]["replicas"] == 1


def test_a_selector_holds_only_what_stays_when_a_process_changes_its_type() -> None:
    """A selector can't be changed; so a process that becomes an exit in the same version must have the same one."""
    other = replace(WORK, type="exit")
    one, two = (live.deployment(WORKFLOW, each, SITE, "1")["spec"]["selector"] for each in (WORK, other))
    assert one == two
    assert set(one["matchLabels"]) < set(live.deployment(WORKFLOW, WORK, SITE, "1")["metadata"]["labels"])


def test_replicas_are_the_autoscalers_affair_and_not_said_elsewhere() -> None:
    assert "replicas" not in live.deployment(WORKFLOW, WORK, SITE, "1")["spec"]
    spec = live.autoscaler(WORKFLOW, WORK, SITE)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 3)
    assert spec["scaleTargetRef"]["name"] == "shop-v1-0-0-serve-work"
    assert spec["metrics"][0]["containerResource"]["container"] == kube.CONTAINER


def test_a_gpu_is_asked_for_as_kai_does() -> None:
    pod = live.deployment(WORKFLOW, WORK, SITE, "1")["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"] == {"konstellation.io/gpu": "true"}
    assert [one["key"] for one in pod["tolerations"]] == ["konstellation.io/gpu", "nvidia.com/gpu"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "db"}}]


def test_a_trigger_that_can_be_called_is_ready_when_it_listens_and_others_when_they_run() -> None:
    rest = live.deployment(WORKFLOW, REST, SITE, "1")["spec"]["template"]["spec"]["containers"][0]
    assert rest["ports"] == [{"name": "trigger", "containerPort": 9000, "protocol": "TCP"}]
    assert rest["readinessProbe"]["tcpSocket"] == {"port": 9000}
    for one in ("poll", "work", "out"):
        container = live.deployment(WORKFLOW, process(one), SITE, "1")["spec"]["template"]["spec"]["containers"][0]
        assert "ports" not in container
        assert "readinessProbe" not in container


def test_a_probe_of_the_krts_pod_template_is_the_one() -> None:
    """A probe of two kinds is refused by Kubernetes."""
    probe = {"httpGet": {"path": "/ready", "port": 9000}}
    pod = {"spec": {"containers": [{"name": "process", "readinessProbe": probe}]}}
    made = live.deployment(WORKFLOW, replace(REST, pod=pod), SITE, "1")
    assert made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] == probe


def test_a_deadline_of_the_krts_pod_template_is_one_of_runs_alone() -> None:
    """Kubernetes refuses it in a Deployment; what else the template says stays."""
    pod = {"spec": {"activeDeadlineSeconds": 60, "hostNetwork": True}}
    spec = live.deployment(WORKFLOW, replace(WORK, pod=pod), SITE, "1")["spec"]["template"]["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert spec["hostNetwork"] is True
    assert kube.pod(WORKFLOW, replace(WORK, pod=pod), "try")["spec"]["activeDeadlineSeconds"] == 60


def test_a_service_leads_to_the_pods_of_its_process() -> None:
    made = live.service(WORKFLOW, REST, SITE)
    pod = live.deployment(WORKFLOW, REST, SITE, "1")["spec"]["template"]
    assert made["spec"]["ports"] == [{"name": "trigger", "protocol": "TCP", "port": 80, "targetPort": 9000}]
    assert made["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    grpc = (
        live.service(WORKFLOW, GRPC, SITE)["metadata"]["annotations"].items() - made["metadata"]["annotations"].items()
    )
    assert grpc == {
        ("konghq.com/protocol", "grpc"),
        ("traefik.ingress.kubernetes.io/service.serversscheme", "h2c"),
    }
    assert [live.has_service(one) for one in WORKFLOW.processes] == [True, True, False, False, False]
    with pytest.raises(ValueError, match="no networking"):
        live.service(WORKFLOW, process("poll"), SITE)


def test_a_secret_holds_app_yaml_and_its_version_says_nothing_of_it() -> None:
    made = live.config_secret(WORKFLOW, WORK, SITE, live.config_data(app_config()), "2026-01-02T03:04:05Z")
    said = yaml.safe_load(base64.b64decode(made["data"]["app.yaml"]))
    assert said == app_config()
    assert made["metadata"]["annotations"]["kai-airflow/config"] == "2026-01-02T03:04:05Z"
    assert "topsecret" not in json.dumps(live.deployment(WORKFLOW, WORK, SITE, "1"))


def test_another_version_of_its_secret_is_another_template() -> None:
    one, two = (live.deployment(WORKFLOW, WORK, SITE, version)["spec"]["template"] for version in "12")
    assert one != two
    assert one["spec"] == two["spec"]


def test_a_process_that_lives_in_runs_alone_has_no_objects() -> None:
    gone = replace(WORK, live=None)
    with pytest.raises(ValueError, match="doesn't outlive a run"):
        live.deployment(WORKFLOW, gone, SITE, "1")


READY = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (READY, True),
        ({**READY, "replicas": 5, "updatedReplicas": 5}, True),  # scaled up just now: one of them works
        ({**READY, "observedGeneration": 1}, False),  # of what it said before
        ({**READY, "replicas": 2}, False),  # an old pod is left
        ({key: value for key, value in READY.items() if key != "availableReplicas"}, False),
        ({}, False),
    ],
)
def test_a_deployment_is_ready_when_it_has_come_to_what_it_says(status: dict[str, int], ready: bool) -> None:
    assert is_ready({"metadata": {"generation": 2}, "status": status}) is ready
    assert not is_ready({"metadata": {"generation": 2, "deletionTimestamp": "now"}, "status": status})
    assert not is_ready(None)


def ran_for(seconds: float, restarts: int = 0, **meta: str) -> dict[str, Any]:
    began = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    own = {"name": "process", "restartCount": restarts, "state": {"running": {"startedAt": began}}}
    return {"metadata": meta, "status": {"containerStatuses": [{"name": "sidecar", "restartCount": 9}, own]}}


def test_a_deployment_works_when_it_is_ready_for_more_than_a_moment() -> None:
    ended = {"metadata": {}, "status": {"containerStatuses": [{"name": "process", "state": {"terminated": {}}}]}}
    found = {"metadata": {"generation": 2}, "status": READY}
    assert works(found, [])  # nobody has seen its pods yet
    assert works(found, [ran_for(4)])
    assert not works(found, [ran_for(1)])
    assert not works(found, [ran_for(4, restarts=1)])
    assert works(found, [ran_for(11, restarts=1)])
    assert works(found, [ran_for(4, restarts=1), ran_for(60)])  # one of several does
    assert not works(found, [ran_for(1), ran_for(60, deletionTimestamp="now")])
    assert not works(found, [ended, {"metadata": {}}])
    assert not works({**found, "metadata": {"generation": 3}}, [ran_for(60)])
