"""What a generated module calls: the DAGs of the KRT that lies beside it."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.dag.builder import ScheduleError, build
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from airflow.sdk import DAG


def load(module_file: str, path: str) -> dict[str, DAG]:
    """The DAGs of a KRT, by DAG id.

    :param module_file: the generated module's ``__file__``: the KRT's name with ``.py`` behind it
    :param path: where the KRT stands below the dags folder, for its product's name and for messages
    :raises KrtError: the KRT breaks a rule; every error of the file is in the message
    :raises ScheduleError: Airflow can't follow a workflow's schedule
    """
    report = krt.load(Path(module_file).with_suffix(""), PurePath(path))
    plan = compile_product(report.require())
    try:
        return {workflow.dag_id: build(workflow) for workflow in plan.workflows}
    except ScheduleError as error:
        raise ScheduleError(f"{path}: {error}") from error
