"""From the plan to Kubernetes objects. Pure."""

from kai_airflow.kube.app_config import Wiring, app_config
from kai_airflow.kube.objects import CONTAINER, TRY_LABEL, PodName, PodReference, pod, secret

__all__ = ["CONTAINER", "TRY_LABEL", "PodName", "PodReference", "Wiring", "app_config", "pod", "secret"]
