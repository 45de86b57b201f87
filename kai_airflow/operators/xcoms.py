"""The manifest as an XCom: all that the tasks of a run tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.messaging.tries import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

KEY = "manifest"


def push_manifest(context: Context, manifest: Manifest) -> None:
    """Leave it for downstream, also where the task fails next."""
    context["ti"].xcom_push(key=KEY, value=manifest.to_json())


def pull_manifests(context: Context, processes: Sequence[str]) -> dict[str, Manifest]:
    """What those of these processes left that have succeeded in this run.

    The states are asked for because an XCom outlives its task: a task that is skipped after a clear never starts, and
    only starting would remove what it left before.
    """
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(processes), run_ids=[ti.run_id]).get(ti.run_id, {})
    found = {name: ti.xcom_pull(task_ids=name, key=KEY) for name in processes if states.get(name) == "success"}
    return {name: Manifest.from_json(manifest) for name, manifest in found.items() if manifest}
