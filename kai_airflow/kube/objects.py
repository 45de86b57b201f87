"""The Kubernetes objects of one try of a process, as the API's own JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import yaml

from kai_airflow.kube.merging import merged
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.plan import Process, Resources, Workflow

CONTAINER = "process"
CONFIG_FOLDER = "/etc/kai"
CONFIG_FILE = "app.yaml"
REQUESTS = "KAI_REQUESTS"
TRY_LABEL = "kai-airflow/try"
_ANNOTATION = "kai-airflow/"
GRACE_PERIOD_SECONDS = 10

DEFAULTS = {"spec": {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS}}
GPU = "nvidia.com/gpu"
_GPU_NODE = "konstellation.io/gpu"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class TaskName:
    """A task of a run, as Airflow names it; ``airflow`` is that Airflow's URL, since several may share a cluster."""

    airflow: str
    dag_id: str
    run_id: str
    task_id: str


@dataclass(frozen=True)
class PodName:
    """A pod, whether or not it exists."""

    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class PodReference(PodName):
    """A pod that exists: what an owner reference needs."""

    uid: str


def object_name(process: str, try_id: str) -> str:
    """The name of a try's pod and Secret: at most 20 + 1 + 36 characters, and a few where several pods share a task.

    Made of the try's id, so that one try can't launch two pods.
    """
    return f"{process}-{try_id}"


def task_annotations(task: TaskName) -> dict[str, str]:
    """The task that a pod works for, whole: a label's value would be cut."""
    return {f"{_ANNOTATION}{key}": value for key, value in asdict(task).items()}


def task_of(found: Mapping[str, str]) -> TaskName | None:
    """Read it back; None where the annotations are of another pod."""
    try:
        return TaskName(**{field.name: found[f"{_ANNOTATION}{field.name}"] for field in fields(TaskName)})
    except KeyError:
        return None


def pod(workflow: Workflow, process: Process, try_id: str) -> Manifest:
    """The pod of one try. It waits for its Secret, which is made next and which it owns.

    What the KRT says stands over the pod template in its ``x-airflow.pod``, and that over the defaults.
    """
    name = object_name(process.name, try_id)
    metadata = {"name": name, "labels": {**labels(workflow, process), TRY_LABEL: try_id}}
    spec = {
        "restartPolicy": "Never",
        "nodeSelector": node_selector(process),
        "tolerations": tolerations(process),
        "volumes": volumes(name),
        "containers": [container(process, _requests(name))],
    }
    template = merged(DEFAULTS, process.pod)
    return merged(template, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def secret(process: str, try_id: str, owner: PodReference, config: Mapping[str, Any], requests: str | None) -> Manifest:
    """The Secret that holds app.yaml and, where they fit, the requests of a plain image; it goes when its pod goes."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": object_name(process, try_id),
            "namespace": owner.namespace,
            "labels": {TRY_LABEL: try_id},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}],
        },
        "stringData": {CONFIG_FILE: yaml_text(config), **({} if requests is None else {REQUESTS: requests})},
    }


def labels(workflow: Workflow, process: Process) -> dict[str, str]:
    """KAI's labels of a process (KAI reference, section 2)."""
    return {
        "product": workflow.product,
        "version": names.label(workflow.version),
        "workflow": workflow.name,
        "process": process.name,
        "type": process.type,
    }


class _Quoting(yaml.SafeDumper):
    """Quotes all text: plain ``1e3`` is text to this library and a number to the Go SDK's."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def yaml_text(config: Mapping[str, Any]) -> str:
    """An app.yaml that both SDKs read alike."""
    return yaml.dump(dict(config), Dumper=_Quoting, allow_unicode=True, sort_keys=False)


def volumes(secret_name: str) -> list[Manifest]:
    """The one volume of a process's pod: the Secret that holds its app.yaml."""
    return [{"name": "config", "secret": {"secretName": secret_name}}]


def container(process: Process, *env: Manifest) -> Manifest:
    """The container of a process, with further variables."""
    return {
        "name": CONTAINER,
        "image": process.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "KAI_APP_CONFIG_PATH", "value": CONFIG_FOLDER},
            # What a Python process prints would wait in its buffer for the end of the process, which isn't waited for.
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            *env,
        ],
        "envFrom": [{"secretRef": {"name": name}} for name in process.secrets],
        "resources": _resources(process.resources, gpu=process.gpu),
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
    }


def _requests(secret_name: str) -> Manifest:
    return {
        "name": REQUESTS,
        "valueFrom": {"secretKeyRef": {"name": secret_name, "key": REQUESTS, "optional": True}},
    }


def _resources(resources: Resources, *, gpu: bool) -> Manifest:
    device = {GPU: "1"} if gpu else {}
    return {
        "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request, **device},
        "limits": {"cpu": resources.cpu_limit, "memory": resources.memory_limit, **device},
    }


def node_selector(process: Process) -> dict[str, str]:
    """The nodes that it may run on."""
    return {**({_GPU_NODE: "true"} if process.gpu else {}), **process.node_selectors}


def tolerations(process: Process) -> list[Manifest]:
    """The taints that it bears."""
    if not process.gpu:
        return []
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in (_GPU_NODE, GPU)]
