"""From the plan to Kubernetes objects. Pure."""

from kai_airflow.kube.app_config import Wiring, app_config
from kai_airflow.kube.ingress import Published, Publishing
from kai_airflow.kube.objects import (
    CONTAINER,
    TRY_LABEL,
    PodName,
    PodReference,
    TaskName,
    object_name,
    pod,
    secret,
    task_annotations,
    task_of,
)

__all__ = [
    "CONTAINER",
    "TRY_LABEL",
    "PodName",
    "PodReference",
    "Published",
    "Publishing",
    "TaskName",
    "Wiring",
    "app_config",
    "object_name",
    "pod",
    "secret",
    "task_annotations",
    "task_of",
]
