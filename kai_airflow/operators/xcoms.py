"""The manifest as an XCom: all that the tasks of a run tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.messaging.tries import Manifest

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY = "manifest"


def push_manifest(context: Context, manifest: Manifest) -> None:
    """Leave it for downstream, also where the task fails next."""
    context["ti"].xcom_push(key=KEY, value=manifest.to_json())


def pull_manifest(context: Context, process: str) -> Manifest | None:
    """What this process left in this run; None where it was skipped or has failed."""
    found = context["ti"].xcom_pull(task_ids=process, key=KEY)
    return Manifest.from_json(found) if found else None
