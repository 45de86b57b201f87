"""app.yaml: what an SDK process reads before anything else (KAI reference, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.plan import Process, Workflow

# Every key is mandatory for the SDKs, whether or not a process uses the service. The addresses are of the reserved
# domain `.invalid`, so that a process that does use one fails at once and says which.
PLACEHOLDERS: Mapping[str, Mapping[str, Any]] = {
    "minio": {
        "endpoint": "minio.invalid:9000",
        "client_user": "none",
        "client_password": "none",
        "ssl": False,
        "bucket": "none",
    },
    "auth": {"endpoint": "http://auth.invalid", "client": "none", "client_secret": "none", "realm": "none"},
    "predictions": {
        "endpoint": "predictions.invalid:6379",
        "username": "none",
        "password": "none",
        "index": "none",
    },
    "measurements": {
        "endpoint": "measurements.invalid:4317",
        "insecure": True,
        "timeout": 5,
        # Seconds: each attempt to reach a placeholder is a complaint in the process's log.
        "metrics_interval": 86_400,
    },
}


@dataclass(frozen=True)
class Wiring:
    """Where a process finds NATS, and which subjects of which stream are its own. ``url`` may hold a password."""

    url: str = field(repr=False)
    stream: str
    output: str
    inputs: tuple[str, ...]


def app_config(
    workflow: Workflow, process: Process, wiring: Wiring, services: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The content of app.yaml; ``services`` overrides keys of the placeholders, section by section."""
    return {
        "metadata": {
            "product_id": workflow.product,
            "version_tag": workflow.version,
            "workflow_name": workflow.name,
            "workflow_type": workflow.type,
            "process_name": process.name,
            "process_type": process.type,
        },
        "nats": _nats(process, wiring),
        "centralized_configuration": {
            "global": {"bucket": process.buckets.shared},
            "product": {"bucket": process.buckets.version},
            "workflow": {"bucket": process.buckets.workflow},
            "process": {"bucket": process.buckets.process, "config": dict(process.config)},
        },
        **{name: {**keys, **services.get(name, {})} for name, keys in PLACEHOLDERS.items()},
    }


def _nats(process: Process, wiring: Wiring) -> dict[str, Any]:
    store = {"object_store": process.object_store} if process.object_store else {}
    return {
        "url": wiring.url,
        "stream": wiring.stream,
        "output": wiring.output,
        "inputs": list(wiring.inputs),
        **store,
    }
