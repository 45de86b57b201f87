"""A Deployment's /scale: how many pods it wants, without the rest."""

from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import parse
from kai_airflow.local.kubernetes.resources import DEPLOYMENTS
from kai_airflow.local.kubernetes.workloads import Scale

_SHARED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def of(deployment: Object) -> Object:
    """The Scale of a Deployment."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: deployment["metadata"][name] for name in _SHARED},
        "spec": {"replicas": deployment["spec"]["replicas"]},
        "status": {
            "replicas": deployment["status"].get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def replace(api: Api, namespace: str, name: str, body: Object, manager: str) -> Object:
    """The Scale with the replicas that a client wants. Raises ApiError."""
    wanted = parse(Scale, body, "Scale").spec.replicas
    old = api.read(DEPLOYMENTS, namespace, name)
    version = body.get("metadata", {}).get("resourceVersion")
    stated = {"resourceVersion": version} if version else {}
    metadata = {**{key: old["metadata"][key] for key in old["metadata"] if key != "resourceVersion"}, **stated}
    new = {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": wanted}}
    return of(api.replace(DEPLOYMENTS, namespace, name, new, manager))
