"""A workflow three times: as a KRT, as Python with stock operators, and as YAML for dag-factory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKFLOW = "run"
POD_OPERATOR = "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator"
EMPTY_OPERATOR = "airflow.providers.standard.operators.empty.EmptyOperator"
K8S = "kubernetes.client.models"
CONFIG = "/etc/kai"

PYTHON = """\
from datetime import datetime, timedelta, timezone

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

with DAG(
    {dag_id!r},
    schedule=None,
    start_date=datetime(2020, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    description={description!r},
    tags={tags!r},
) as dag:
"""


@dataclass(frozen=True)
class Step:
    """One process of the workflow. Not all have the same: it is as varied as what people write."""

    number: int
    type: str
    upstream: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its task, too."""
        return name_of(self.number)

    @property
    def image(self) -> str:
        """An image of its own."""
        return f"registry.kai.local/{self.name}:v1"

    @property
    def config(self) -> dict[str, str]:
        """Two values."""
        return {"model": f"model-{self.number}", "threshold": "0.5"}

    @property
    def node_selector(self) -> dict[str, str]:
        """Of one in five."""
        return {"disk": "ssd"} if self.number % 5 == 0 else {}

    @property
    def secrets(self) -> list[str]:
        """Of one in seven."""
        return ["registry-token"] if self.number % 7 == 0 else []

    @property
    def retries(self) -> int | None:
        """Of one in four, a minute apart."""
        return 2 if self.number % 4 == 0 else None


@dataclass(frozen=True)
class Call:
    """A call of a class in a task's arguments, which Python and dag-factory write each in its own way."""

    path: str
    arguments: dict[str, Any]


def name_of(number: int) -> str:
    """The name of a process."""
    return f"process-{number}"


def listed(count: int) -> list[str]:
    """The names of so many products."""
    return [f"product-{number}" for number in range(count)]


def steps(count: int) -> list[Step]:
    """So many: each third one joins what two before it do at the same time, and the exit all that is left."""
    found = [Step(0, "trigger", ())]
    found += [Step(number, "task", _upstream(number)) for number in range(1, count - 1)]
    joined = {name for step in found for name in step.upstream}
    return [*found, Step(count - 1, "exit", tuple(step.name for step in found if step.name not in joined))]


def _upstream(number: int) -> tuple[str, ...]:
    return tuple(name_of(number - back) for back in ((1, 2), (1,), (2,))[number % 3])


def as_krt(product: str, workflow: Sequence[Step]) -> str:
    """The krt.yaml."""
    processes = [_process(step) for step in workflow]
    document = {
        "version": "v1.0.0",
        "description": _description(product),
        "x-airflow": {"product": product},
        "workflows": [{"name": WORKFLOW, "type": "training", "processes": processes}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _process(step: Step) -> dict[str, Any]:
    process: dict[str, Any] = {
        "name": step.name,
        "image": step.image,
        "type": step.type,
        "resourceLimits": {
            "CPU": {"request": "100m", "limit": "200m"},
            "memory": {"request": "100M", "limit": "200M"},
        },
        "config": step.config,
    }
    if step.upstream:
        process["subscriptions"] = list(step.upstream)
    if step.node_selector:
        process["nodeSelectors"] = step.node_selector
    if step.secrets:
        process["secrets"] = step.secrets
    if step.retries is not None:
        process["x-airflow"] = {"retries": step.retries, "retry_delay": 60}
    return process


def as_python(product: str, workflow: Sequence[Step]) -> str:
    """The module that somebody would write without KRTs; its pods are those that KRTs get."""
    facts = {"dag_id": dag_id(product), "description": _description(product), "tags": _tags(product)}
    lines = [PYTHON.format(**facts)]
    for step in workflow:
        operator, arguments = _task(product, step)
        lines.append(f"    {_variable(step.name)} = {operator.rpartition('.')[2]}(\n")
        lines += [f"        {name}={_written(value)},\n" for name, value in arguments.items()]
        lines.append("    )\n")
    for step in workflow:
        if step.upstream:
            lines.append(f"    [{', '.join(map(_variable, step.upstream))}] >> {_variable(step.name)}\n")
    return "".join(lines)


def _variable(name: str) -> str:
    return name.replace("-", "_")


def _written(value: Any) -> str:
    """As Python."""
    match value:
        case Call(path, arguments):
            given = ", ".join(f"{name}={_written(one)}" for name, one in arguments.items())
            return f"{path.replace(K8S, 'k8s').removeprefix('datetime.')}({given})"
        case dict():
            return "{" + ", ".join(f"{key!r}: {_written(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_written, value)) + "]"
        case _:
            return repr(value)


def as_dag_factory(product: str, workflow: Sequence[Step]) -> str:
    """The same module as dag-factory's YAML."""
    tasks = {}
    for step in workflow:
        operator, arguments = _task(product, step)
        told = {name: _typed(value) for name, value in arguments.items() if name != "task_id"}
        tasks[step.name] = {"operator": operator, **told, "dependencies": list(step.upstream)}
    dag = {
        "schedule": "none",
        "start_date": "2020-01-01",
        "catchup": False,
        "description": _description(product),
        "tags": _tags(product),
        "tasks": tasks,
    }
    return yaml.safe_dump({dag_id(product): dag}, sort_keys=False)


def _typed(value: Any) -> Any:
    """As dag-factory's YAML has calls."""
    match value:
        case Call(path, arguments):
            return {"__type__": path, **{name: _typed(one) for name, one in arguments.items()}}
        case dict():
            return {key: _typed(one) for key, one in value.items()}
        case list():
            return [_typed(one) for one in value]
        case _:
            return value


def _task(product: str, step: Step) -> tuple[str, dict[str, Any]]:
    """The operator of a process, and its arguments. A trigger has no pod, with KRTs as without."""
    retried = {}
    if step.retries is not None:
        retried = {"retries": step.retries, "retry_delay": Call("datetime.timedelta", {"seconds": 60})}
    if step.type == "trigger":
        return EMPTY_OPERATOR, {"task_id": step.name, **retried}
    return POD_OPERATOR, {**_pod(product, step), **retried}


def _pod(product: str, step: Step) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "task_id": step.name,
        "name": step.name,
        "namespace": "default",
        "image": step.image,
        "image_pull_policy": "IfNotPresent",
        "labels": {"product": product, "version": "v1.0.0", "workflow": WORKFLOW, "process": step.name},
        "env_vars": {"KAI_APP_CONFIG_PATH": CONFIG, "PYTHONUNBUFFERED": "1", **step.config},
        "container_resources": _k8s(
            "V1ResourceRequirements",
            requests={"cpu": "100m", "memory": "100M"},
            limits={"cpu": "200m", "memory": "200M"},
        ),
        "volumes": [_k8s("V1Volume", name="config", secret=_k8s("V1SecretVolumeSource", secret_name=step.name))],
        "volume_mounts": [_k8s("V1VolumeMount", name="config", mount_path=CONFIG, read_only=True)],
        "automount_service_account_token": False,
        "termination_grace_period": 10,
        "do_xcom_push": False,
        "trigger_rule": "none_failed_min_one_success",
    }
    if step.node_selector:
        arguments["node_selector"] = step.node_selector
    if step.secrets:
        references = [_k8s("V1SecretEnvSource", name=name) for name in step.secrets]
        arguments["env_from"] = [_k8s("V1EnvFromSource", secret_ref=reference) for reference in references]
    return arguments


def _k8s(model: str, **arguments: Any) -> Call:
    return Call(f"{K8S}.{model}", arguments)


def dag_id(product: str) -> str:
    """The DAG of a product, by whatever it is written."""
    return f"{product}.{WORKFLOW}"


def _description(product: str) -> str:
    return f"what is measured: {product}"


def _tags(product: str) -> list[str]:
    return ["kai", f"product:{product}", "type:training", "version:v1.0.0"]
