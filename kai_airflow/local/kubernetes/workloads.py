"""Deployments and their HorizontalPodAutoscalers: what a client may say, as models."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import (
    LabelValue,
    Metadata,
    Model,
    QualifiedName,
    Subdomain,
)
from kai_airflow.local.kubernetes.pods import PodSpec

_PERCENT = re.compile(r"[0-9]{1,4}%")

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _share(value: int | str) -> int | str:
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        raise PydanticCustomError("share", "must be a number or a percentage such as 25%")
    return value


Share = Annotated[Count | str, AfterValidator(_share)]


class Selector(Model):
    """Which pods are meant."""

    missing = frozenset({"matchExpressions"})
    match_labels: Annotated[dict[QualifiedName, LabelValue], Field(min_length=1)]


class TemplateMetadata(Model):
    """The metadata of the pods to be made."""

    missing = frozenset({"finalizers"})
    labels: dict[QualifiedName, LabelValue] = {}
    annotations: dict[QualifiedName, str] = {}


class PodTemplate(Model):
    """The pods to be made."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec


class RollingUpdate(Model):
    """How many pods there may be too many or too few while a new template takes over."""

    max_surge: Share = "25%"
    max_unavailable: Share = "25%"


class Strategy(Model):
    """How a new template takes over."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(Model):
    """A Deployment's spec."""

    missing = frozenset({"paused", "minReadySeconds"})
    replicas: Count = 1
    selector: Selector
    template: PodTemplate
    strategy: Strategy = Strategy()

    @model_validator(mode="after")
    def _consistent(self) -> "DeploymentSpec":
        if not self.selector.match_labels.items() <= self.template.metadata.labels.items():
            raise PydanticCustomError("selector", "the selector must match the template's labels")
        if self.template.spec.restart_policy != "Always":
            raise PydanticCustomError("policy", "template.spec.restartPolicy must be Always")
        if self.template.spec.active_deadline_seconds is not None:
            raise PydanticCustomError("deadline", "template.spec.activeDeadlineSeconds must not be set")
        return self

    def completed(self) -> Object:
        """The defaults that the kept spec tells."""
        rolling = self.strategy.rolling_update
        shares = {"rollingUpdate": {"maxSurge": rolling.max_surge, "maxUnavailable": rolling.max_unavailable}}
        more = shares if self.strategy.type == "RollingUpdate" else {}
        return {"replicas": self.replicas, "strategy": {"type": self.strategy.type, **more}}


class Deployment(Model):
    """A Deployment as a client describes it."""

    metadata: Metadata
    spec: DeploymentSpec


class ScaleSpec(Model):
    """How many pods are wanted."""

    replicas: Count = 0


class Scale(Model):
    """The /scale of a Deployment as a client describes it."""

    spec: ScaleSpec = ScaleSpec()


class Target(Model):
    """What is scaled."""

    kind: Literal["Deployment"]
    name: Subdomain


class AutoscalerSpec(Model):
    """A HorizontalPodAutoscaler's spec. Metrics and behaviour are kept: there is nothing that measures."""

    scale_target_ref: Target
    min_replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "AutoscalerSpec":
        if self.max_replicas < self.min_replicas:
            raise PydanticCustomError("order", "maxReplicas must be greater than or equal to minReplicas")
        return self


class Autoscaler(Model):
    """A HorizontalPodAutoscaler as a client describes it."""

    metadata: Metadata
    spec: AutoscalerSpec
