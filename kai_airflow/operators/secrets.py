"""What Airflow's log must never show, told to it before anything is logged (P5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.log import mask_secret

from kai_airflow.krt import is_sensitive, passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.messaging.address import NatsAddress
    from kai_airflow.operators.connections import Services
    from kai_airflow.plan import Process, Workflow

# A flag is no secret, whatever its key is called; masked, the word would be gone from every line.
_FLAGS = frozenset({"true", "false"})


def mask_secrets(workflow: Workflow, process: Process, address: NatsAddress, services: Services) -> None:
    """Have Airflow mask what app.yaml holds of the KRT, NATS and the services. It masks nothing below 5 characters."""
    configs = (
        workflow.version_config,
        workflow.config,
        process.config,
        *_environments(process.pod),
        *services.sections.values(),
    )
    for config in configs:
        for secret in _secrets(config):
            mask_secret(secret)
    for secret in address.secrets():
        mask_secret(secret)


def _environments(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The environment of each container of a pod template."""
    spec = pod.get("spec", {})
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        yield {variable["name"]: variable.get("value") for variable in container.get("env", ())}


def _secrets(config: Mapping[str, Any]) -> Iterator[str]:
    """The values of sensitive-looking keys, line by line, as a log's lines come; and passwords inside other values."""
    for key, value in config.items():
        if not isinstance(value, str) or value.lower() in _FLAGS:
            continue
        if is_sensitive(key):
            yield from filter(None, map(str.strip, value.splitlines()))
        else:
            yield from passwords(value)
