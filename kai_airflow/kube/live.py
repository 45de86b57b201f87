"""The Kubernetes objects of long-lived processes, as the API's own JSON (design, section 5).

They are KAI's (KAI reference, section 2), with labels of this project's own: by these, and by these alone, the bridge
finds what it keeps.
"""

from __future__ import annotations

import base64
import hashlib
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

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_GRPC = {
    "konghq.com/protocol": "grpc",  # KAI's own
    "traefik.ingress.kubernetes.io/service.serversscheme": "h2c",
}
"""What tells Ingress controllers that a Service speaks gRPC. ingress-nginx has no such word for a Service."""
_DEADLINE = "activeDeadlineSeconds"
_SITE_DIGITS = 16


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
        merged(DEFAULTS, _lasting(process.pod)),
        {
            "metadata": {"labels": own, "annotations": {**_origin(workflow), CONFIG_ANNOTATION: config_version}},
            "spec": {
                "restartPolicy": "Always",
                "nodeSelector": node_selector(process),
                "tolerations": tolerations(process),
                "volumes": volumes(deployment_name(process)),
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
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_name(process)},
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
        made["metadata"]["annotations"].update(_GRPC)
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


def _lasting(pod: Mapping[str, Any]) -> Manifest:
    """A KRT's pod template without its deadline: that is one of runs, and Kubernetes refuses it in a Deployment."""
    return {**pod, "spec": {key: value for key, value in pod.get("spec", {}).items() if key != _DEADLINE}}


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
        "name": deployment_name(process),
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


def deployment_name(process: Process) -> str:
    """The name of all its objects."""
    if process.live is None:
        raise ValueError(f"{process.name} doesn't outlive a run")
    return process.live.deployment
