"""What Airflow's database says of KRT files' DAGs, for a user who may read them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import or_, select

from kai_airflow.bridge.client import PAUSING, Dag

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

_TAG = "kai"
_MANIFEST = "manifest"


@dataclass(frozen=True)
class Shelf:
    """DAGs by id, and those that somebody has paused or unpaused."""

    dags: Mapping[str, Dag]
    touched: Collection[str]


def shelf(session: Session, readable: Collection[str]) -> Shelf:
    """The DAGs of KRT files among those that may be read; those of files with errors as well."""
    ours = select(DagTag.dag_id).where(DagTag.name == _TAG)
    tags: dict[str, list[str]] = defaultdict(list)
    for dag_id, tag in session.execute(select(DagTag.dag_id, DagTag.name).where(DagTag.dag_id.in_(ours))):
        tags[dag_id].append(tag)
    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.has_import_errors, DagModel.relative_fileloc)
    is_there = or_(DagModel.is_stale.is_(False), DagModel.has_import_errors.is_(True))
    found = session.execute(select(*columns).where(DagModel.dag_id.in_(ours), is_there))
    dags = {
        one: Dag.of(paused=paused, broken=broken, tags=tags[one], module=module)
        for one, paused, broken, module in found
        if one in readable
    }
    paused = [dag_id for dag_id, dag in dags.items() if dag.paused]
    events = select(Log.dag_id).where(Log.dag_id.in_(paused), Log.event.in_(PAUSING)).distinct()
    touched = {str(one) for one in session.scalars(events)}
    return Shelf(dags, touched)


@dataclass(frozen=True)
class Left:
    """What a task left: its state, and its manifest as it travels, None where it left none."""

    state: str | None
    manifest: Any


def run_of(session: Session, dag_id: str, run_id: str) -> dict[str, Left]:
    """What the tasks of a run left, by task."""
    of_run = (XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key == _MANIFEST)
    values = {
        one.task_id: XComModel.deserialize_value(one) for one in session.scalars(select(XComModel).where(*of_run))
    }
    states = select(TaskInstance.task_id, TaskInstance.state).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
    )
    return {task_id: Left(state, values.get(task_id)) for task_id, state in session.execute(states)}
