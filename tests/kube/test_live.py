"""The objects of long-lived processes, held against the models of the Kubernetes client."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient

from kai_airflow import krt, kube
from kai_airflow.kube import live
from kai_airflow.kube.found import is_of, is_ready, stream_of, works
from kai_airflow.plan import Process, Workflow, compile_product

LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"
KRT = f"""
version: v1.0.0
description: text
workflows:
  - name: serve
    type: serving
    processes:
      - name: rest
        type: trigger
        image: registry/rest:v1
        subscriptions: [out]
        networking: {{targetPort: 9000, destinationPort: 80}}
        {LIMITS}
      - name: grpc
        type: trigger
        image: registry/grpc:v1
        networking: {{targetPort: 9001, destinationPort: 9001, protocol: GRPC}}
        {LIMITS}
      - {{name: poll, type: trigger, image: i, {LIMITS}}}
      - {{name: work, type: task, image: i, replicas: 3, gpu: true, secrets: [db], subscriptions: [rest], {LIMITS}}}
      - {{name: out, type: exit, image: i, subscriptions: [work], {LIMITS}}}
"""
SITE = live.site_label("https://airflow.example.com")
URL_DOMAIN = live.Publishing(domain="kai.example.com", ingress_class="kong", tls_secret="{product}-tls")


def compiled(text: str = KRT) -> Workflow:
    (workflow,) = compile_product(krt.check(text.encode(), PurePath("shop/krt.yaml")).require()).workflows
    return workflow


WORKFLOW = compiled()


def process(name: str, workflow: Workflow = WORKFLOW) -> Process:
    (found,) = [one for one in workflow.processes if one.name == name]
    return found


REST, GRPC, WORK = process("rest"), process("grpc"), process("work")


@dataclass
class Answer:
    """As the client reads it."""

    data: str


def read(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the client's model of that kind makes of it: keys that it doesn't know are gone, and missing ones raise."""
    kind = {"Ingress": "V1Ingress", "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler"}.get(manifest["kind"])
    api = ApiClient()
    model = api.deserialize(Answer(json.dumps(manifest)), kind or f"V1{manifest['kind']}")
    found: dict[str, Any] = api.sanitize_for_serialization(model)
    return found


def manifests() -> list[dict[str, Any]]:
    made = [live.deployment(WORKFLOW, one, SITE, "1") for one in WORKFLOW.processes]
    data = live.config_data(app_config())
    made += [live.config_secret(WORKFLOW, WORK, SITE, data, "1"), live.autoscaler(WORKFLOW, WORK, SITE)]
    made += [live.service(WORKFLOW, one, SITE) for one in (REST, GRPC)]
    return [*made, *filter(None, (live.ingress([WORKFLOW], SITE, how) for how in (URL_DOMAIN, live.Publishing())))]


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


def test_a_service_leads_to_the_pods_of_its_process() -> None:
    made = live.service(WORKFLOW, REST, SITE)
    pod = live.deployment(WORKFLOW, REST, SITE, "1")["spec"]["template"]
    assert made["spec"]["ports"] == [{"name": "trigger", "protocol": "TCP", "port": 80, "targetPort": 9000}]
    assert made["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert "konghq.com/protocol" not in made["metadata"]["annotations"]
    assert live.service(WORKFLOW, GRPC, SITE)["metadata"]["annotations"]["konghq.com/protocol"] == "grpc"
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


def test_an_ingress_of_a_domain_has_a_host_for_a_products_http_and_one_for_each_grpc_trigger() -> None:
    made = live.ingress([WORKFLOW], SITE, URL_DOMAIN)
    assert made is not None
    http, grpc = made["spec"]["rules"]
    assert http["host"] == "shop.kai.example.com"
    (path,) = http["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/serve-rest", "Prefix")
    assert path["backend"] == {"service": {"name": "shop-v1-0-0-serve-rest", "port": {"name": "trigger"}}}
    assert grpc["host"] == "shop-serve-grpc.kai.example.com"
    assert grpc["http"]["paths"][0]["path"] == "/"
    assert made["spec"]["tls"] == [{"hosts": [http["host"], grpc["host"]], "secretName": "shop-tls"}]
    assert made["spec"]["ingressClassName"] == "kong"
    assert made["metadata"]["annotations"] == {"konghq.com/strip-path": "true"}
    assert made["metadata"]["labels"]["version"] == "v1.0.0"


def test_an_ingress_without_a_domain_tells_products_apart_by_path_and_publishes_http_alone() -> None:
    made = live.ingress([WORKFLOW], SITE, live.Publishing())
    assert made is not None
    (rule,) = made["spec"]["rules"]
    assert "host" not in rule
    assert [path["path"] for path in rule["http"]["paths"]] == ["/shop/serve-rest"]
    assert live.ingress([replace(WORKFLOW, processes=(process("poll"),))], SITE, URL_DOMAIN) is None
    assert live.ingress([replace(WORKFLOW, processes=(GRPC,))], SITE, live.Publishing()) is None
    assert live.ingress([], SITE, URL_DOMAIN) is None


def test_what_is_published_is_told_with_the_address_that_the_cluster_gives() -> None:
    made = live.ingress([WORKFLOW], SITE, live.Publishing())
    assert made is not None
    (shown,) = live.published(made, [WORKFLOW])
    assert (shown.workflow, shown.process, shown.url) == ("serve", "rest", None)
    balancer = {"hostname": "localhost", "ports": [{"port": 8088, "protocol": "TCP"}]}
    found = {**made, "status": {"loadBalancer": {"ingress": [balancer]}}}
    assert live.published(found, [WORKFLOW])[0].url == "http://localhost:8088/shop/serve-rest"
    with_domain = live.ingress([WORKFLOW], SITE, URL_DOMAIN)
    assert with_domain is not None
    assert [one.url for one in live.published(with_domain, [WORKFLOW])] == [
        "https://shop.kai.example.com/serve-rest",
        "grpcs://shop-serve-grpc.kai.example.com",
    ]


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
