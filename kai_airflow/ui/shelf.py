"""What Airflow's database says of KRT files' DAGs, for a user who may read them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from kai_airflow.bridge.client import PAUSING, Dag

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

_TAG = "kai"
_MANIFEST = "manifest"


@dataclass(frozen=True)
class Shelf:
    """DAGs by id, their tags, and those that somebody has paused or unpaused."""

    dags: Mapping[str, Dag]
    tags: Mapping[str, Mapping[str, str]]
    touched: Collection[str]


def shelf(session: Session, readable: Collection[str]) -> Shelf:
    """The DAGs of KRT files among those that may be read. ``tags``: what stands behind the colon, by what is before."""
    ours = select(DagTag.dag_id).where(DagTag.name == _TAG)
    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.has_import_errors)
    found = session.execute(select(*columns).where(DagModel.dag_id.in_(ours), DagModel.is_stale.is_(False)))
    dags = {one: Dag(paused=bool(paused), broken=bool(broken)) for one, paused, broken in found if one in readable}
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    for dag_id, tag in session.execute(select(DagTag.dag_id, DagTag.name).where(DagTag.dag_id.in_(ours))):
        kind, _, value = tag.partition(":")
        tags[dag_id].setdefault(kind, value)
    paused = [dag_id for dag_id, dag in dags.items() if dag.paused]
    events = select(Log.dag_id).where(Log.dag_id.in_(paused), Log.event.in_(PAUSING)).distinct()
    touched = {str(one) for one in session.scalars(events)}
    return Shelf(dags, tags, touched)


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
