"""The Kubernetes objects of long-lived processes and of what is published, as the API's own JSON (design, section 5).

They are KAI's (KAI reference, section 2), with labels of this project's own: by these, and by these alone, the bridge
finds what it keeps.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.kube.merging import merged
from kai_airflow.kube.objects import (
    CONFIG_FILE,
    CONTAINER,
    DEFAULTS,
    container,
    labels,
    node_selector,
    tolerations,
    volumes,
    yaml_text,
)
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow

MANAGER = "kai-airflow"
MANAGED_BY = "app.kubernetes.io/managed-by"
SITE_LABEL = "kai-airflow/site"
CONFIG_ANNOTATION = "kai-airflow/config"
DAG_ANNOTATION = "kai-airflow/dag"
STREAM_ANNOTATION = "kai-airflow/stream"
PORT = "trigger"
CPU_PERCENTAGE = 80  # KAI's own, above which an HPA adds replicas
_STRIP_PATH = {"konghq.com/strip-path": "true"}  # as KAI's own, for Kong; others ignore it
_PROTOCOL = "konghq.com/protocol"
_SITE_DIGITS = 16


@dataclass(frozen=True)
class Publishing:
    """How a cluster publishes: what Airflow's section ``[kai_airflow]`` says of Ingresses.

    ``domain``: below which each product has its host; without one all share any host. ``tls_secret``: the Secret of
    the certificate, ``{product}`` in it stands for the product; empty for plain HTTP.
    """

    domain: str = ""
    ingress_class: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    tls_secret: str = ""


@dataclass(frozen=True)
class Published:
    """A trigger of an Ingress: its process, and where people reach it; ``url`` is None as long as nobody knows."""

    workflow: str
    process: str
    url: str | None


def site_label(airflow: str) -> str:
    """What marks the objects of the Airflow at this URL: several may share a namespace."""
    return hashlib.sha256(airflow.encode()).hexdigest()[:_SITE_DIGITS]


def selector(site: str) -> str:
    """Selects all objects of a site, and nothing else."""
    return f"{MANAGED_BY}={MANAGER},{SITE_LABEL}={site}"


def lease_name(site: str) -> str:
    """The Lease that the one acting bridge of a site holds."""
    return f"{MANAGER}-{site}"


def config_data(config: Mapping[str, Any]) -> dict[str, str]:
    """What the Secret holds: app.yaml, as the API gives it back."""
    return {CONFIG_FILE: base64.b64encode(yaml_text(config).encode()).decode()}


def config_secret(workflow: Workflow, process: Process, site: str, data: Mapping[str, str], version: str) -> Manifest:
    """The Secret of a process. ``version``: another one for each content; it says nothing of it."""
    made = _object("v1", "Secret", workflow, process, site)
    made["metadata"]["annotations"][CONFIG_ANNOTATION] = version
    return {**made, "data": dict(data)}


def deployment(workflow: Workflow, process: Process, site: str, config_version: str) -> Manifest:
    """The Deployment. ``config_version``: of its Secret; another one rolls the pods over.

    With several replicas their number is the HPA's affair, and isn't said here.
    """
    own = _labels(workflow, process, site)
    template = merged(
        merged(DEFAULTS, process.pod),
        {
            "metadata": {"labels": own, "annotations": {**_origin(workflow), CONFIG_ANNOTATION: config_version}},
            "spec": {
                "restartPolicy": "Always",
                "nodeSelector": node_selector(process),
                "tolerations": tolerations(process),
                "volumes": volumes(_name(process)),
                "containers": [{**container(process), **_listening(process)}],
            },
        },
    )
    return {
        **_object("apps/v1", "Deployment", workflow, process, site),
        "spec": {
            **({"replicas": 1} if process.replicas == 1 else {}),
            "selector": {"matchLabels": _identity(own)},
            "template": template,
        },
    }


def autoscaler(workflow: Workflow, process: Process, site: str) -> Manifest:
    """The HPA of a process with several replicas: from one of them to all, by the CPU that they use."""
    target = {"type": "Utilization", "averageUtilization": CPU_PERCENTAGE}
    metric = {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": CONTAINER, "target": target},
    }
    return {
        **_object("autoscaling/v2", "HorizontalPodAutoscaler", workflow, process, site),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": _name(process)},
            "minReplicas": 1,
            "maxReplicas": process.replicas,
            "metrics": [metric],
        },
    }


def service(workflow: Workflow, process: Process, site: str) -> Manifest:
    """The Service of a trigger with networking."""
    net = process.networking
    if net is None:
        raise ValueError(f"{process.name} has no networking")
    made = _object("v1", "Service", workflow, process, site)
    if net.protocol == "GRPC":
        made["metadata"]["annotations"][_PROTOCOL] = "grpc"
    return {
        **made,
        "spec": {
            "type": "ClusterIP",
            "selector": _identity(_labels(workflow, process, site)),
            "ports": [{"name": PORT, "protocol": "TCP", "port": net.destination_port, "targetPort": net.target_port}],
        },
    }


def has_service(process: Process) -> bool:
    """Whether others may call it: KAI makes a Service for triggers with networking alone."""
    return process.type == "trigger" and process.networking is not None and process.live is not None


def ingress(workflows: Iterable[Workflow], site: str, how: Publishing) -> Manifest | None:
    """The Ingress of a product's version, whose workflows these are; None where no trigger can be called.

    Without a domain only HTTP can be published: paths are told apart, hosts can't be.
    """
    listed = list(workflows)
    triggers = [(w, p) for w in listed for p in w.processes if has_service(p)]
    rules = [*_http_rules(triggers, how), *(_grpc_rules(triggers, how) if how.domain else ())]
    if not rules:
        return None
    product, version = listed[0].product, listed[0].version
    metadata = {
        "name": names.ingress(product),
        "labels": {
            "product": product,
            "version": names.label(version),
            "type": "network",
            MANAGED_BY: MANAGER,
            SITE_LABEL: site,
        },
        "annotations": {**_STRIP_PATH, **how.annotations},
    }
    spec: Manifest = {"rules": rules}
    if how.ingress_class:
        spec["ingressClassName"] = how.ingress_class
    if how.tls_secret:
        hosts = {"hosts": [rule["host"] for rule in rules]} if how.domain else {}
        spec["tls"] = [{**hosts, "secretName": how.tls_secret.replace("{product}", product)}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def published(found: Mapping[str, Any], workflows: Iterable[Workflow]) -> tuple[Published, ...]:
    """What an Ingress, as the API gives it, publishes of these workflows."""
    backends = {process.live.deployment: (w, process) for w in workflows for process in w.processes if process.live}
    shown = []
    for rule in found["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            name = ((path.get("backend") or {}).get("service") or {}).get("name")
            if name in backends:
                workflow, process = backends[name]
                shown.append(Published(workflow.name, process.name, _url(found, rule, path, process)))
    return tuple(shown)


def _url(found: Mapping[str, Any], rule: Mapping[str, Any], path: Mapping[str, Any], process: Process) -> str | None:
    address = rule.get("host") or _balancer(found)
    if address is None:
        return None
    scheme = "grpc" if process.networking and process.networking.protocol == "GRPC" else "http"
    return f"{scheme}{'s' if found['spec'].get('tls') else ''}://{address}{path.get('path', '/').rstrip('/')}"


def _balancer(found: Mapping[str, Any]) -> str | None:
    """Where the cluster serves Ingresses; None as long as no controller has said so."""
    balancers = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for one in balancers:
        ports = [str(port["port"]) for port in one.get("ports") or () if port.get("port") not in (80, 443)]
        return ":".join([one.get("hostname") or one["ip"], *ports[:1]])
    return None


def _http_rules(triggers: Iterable[tuple[Workflow, Process]], how: Publishing) -> Iterator[Manifest]:
    paths = []
    for workflow, process in triggers:
        if process.networking and process.networking.protocol == "HTTP":
            path = names.published_path(workflow.name, process.name)
            whole = path if how.domain else f"/{workflow.product}{path}"
            paths.append(_path(whole, process))
            product = workflow.product
    if paths:
        host = {"host": names.published_host(product, how.domain)} if how.domain else {}
        yield {**host, "http": {"paths": paths}}


def _grpc_rules(triggers: Iterable[tuple[Workflow, Process]], how: Publishing) -> Iterator[Manifest]:
    for workflow, process in triggers:
        if process.networking and process.networking.protocol == "GRPC":
            host = names.published_host(f"{workflow.product}-{workflow.name}-{process.name}", how.domain)
            yield {"host": host, "http": {"paths": [_path("/", process)]}}


def _path(path: str, process: Process) -> Manifest:
    service = {"name": _name(process), "port": {"name": PORT}}
    return {"path": path, "pathType": "Prefix", "backend": {"service": service}}


def _listening(process: Process) -> Manifest:
    if not has_service(process) or process.networking is None:
        return {}
    port = process.networking.target_port
    listening: Manifest = {"ports": [{"name": PORT, "containerPort": port, "protocol": "TCP"}]}
    if not _has_probe(process):
        listening["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 3}
    return listening


def _has_probe(process: Process) -> bool:
    """Whether the KRT's pod template says itself when the process is ready; a probe is of one kind only."""
    containers = process.pod.get("spec", {}).get("containers") or ()
    return any(one.get("name") == CONTAINER and one.get("readinessProbe") for one in containers)


def _object(version: str, kind: str, workflow: Workflow, process: Process, site: str) -> Manifest:
    metadata = {
        "name": _name(process),
        "labels": _labels(workflow, process, site),
        "annotations": _origin(workflow),
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _origin(workflow: Workflow) -> dict[str, str]:
    """What tells to whom an object belongs when no KRT names it any more; labels would be cut."""
    return {DAG_ANNOTATION: str(workflow.dag_id), STREAM_ANNOTATION: str(workflow.live_stream)}


def _identity(own: Mapping[str, str]) -> dict[str, str]:
    """The labels that can't change as long as the name stays, as a selector must not."""
    return {key: value for key, value in own.items() if key != "type"}


def _labels(workflow: Workflow, process: Process, site: str) -> dict[str, str]:
    return {**labels(workflow, process), MANAGED_BY: MANAGER, SITE_LABEL: site}


def _name(process: Process) -> str:
    if process.live is None:
        raise ValueError(f"{process.name} doesn't outlive a run")
    return process.live.deployment
