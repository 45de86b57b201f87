"""From the plan to Kubernetes objects. Pure."""

from kai_airflow.kube.app_config import Wiring, app_config
from kai_airflow.kube.objects import CONTAINER, TRY_LABEL, PodName, PodReference, object_name, pod, secret

__all__ = ["CONTAINER", "TRY_LABEL", "PodName", "PodReference", "Wiring", "app_config", "object_name", "pod", "secret"]
