"""The run: a database, the DAG, ``dag.test``, and what it tells meanwhile."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import httpx
import structlog
from airflow.sdk.execution_time.supervisor import in_process_api_server
from airflow.sdk.listener import get_listener_manager
from airflow.utils.db import initdb

from kai_airflow.bundle.module import loading
from kai_airflow.dag import load
from kai_airflow.errors import KaiAirflowError
from kai_airflow.operators.xcoms import KEY
from kai_airflow.rehearsal.observer import Observer, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow.sdk import DAG


def rehearse(
    dags: Path, path: str, dag_id: str, conf: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]
) -> None:
    """Run a DAG of the KRT in ``dags`` once; ``tell`` hears what the package's docstring lists."""
    initdb()
    try:
        dag = _dag(dags, path, dag_id)
    except KaiAirflowError as error:
        tell({"refused": str(error)})
        return
    _warm_up()
    _observe(Observer(tell))
    gc.enable()  # off while Airflow was imported; from here on messages come and go
    run = dag.test(run_conf=dict(conf))
    tasks = run.get_task_instances()
    tell(
        {
            "state": str(run.state),
            "run_id": run.run_id,
            "tasks": [described(task) for task in tasks],
            "manifests": {task.task_id: task.xcom_pull(task_ids=task.task_id, key=KEY) for task in tasks},
        }
    )


def _warm_up() -> None:
    """Have Airflow make the in-process API that tasks talk to: for seconds, which would be the first task's."""
    with httpx.Client(transport=in_process_api_server().transport, base_url="http://in-process.invalid") as client:
        client.get("/health").raise_for_status()


def _observe(observer: Observer) -> None:
    get_listener_manager().add_listener(observer)  # type: ignore[no-untyped-call]
    *before, renderer = structlog.get_config()["processors"]
    structlog.configure(processors=[*before, observer.hear, renderer])


def _dag(dags: Path, path: str, dag_id: str) -> DAG:
    """The DAG, from the module that stands for a KRT in a bundle: ``dag.test`` reads it once more from there."""
    document = dags / "krt.yaml"
    module = dags / "krt.yaml.py"
    module.write_bytes(loading(path, document.read_bytes()))
    return load(str(module), path)[dag_id]
