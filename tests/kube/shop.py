"""A product with triggers of both protocols, and what the Kubernetes client makes of its objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from kubernetes.client import ApiClient

from kai_airflow import krt
from kai_airflow.kube import live
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


def compiled(text: str = KRT) -> Workflow:
    (workflow,) = compile_product(krt.check(text.encode(), PurePath("shop/krt.yaml")).require()).workflows
    return workflow


WORKFLOW = compiled()


def process(name: str, workflow: Workflow = WORKFLOW) -> Process:
    (found,) = [one for one in workflow.processes if one.name == name]
    return found


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
