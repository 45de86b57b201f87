"""Whose messages a stream holds: a workflow's own, or those of another version of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.plan import names

if TYPE_CHECKING:
    from kai_airflow.plan import Workflow
    from kai_airflow.plan.names import Stream


def takes_from(workflow: Workflow, stream: Stream) -> bool:
    """Whether messages of a live stream are a workflow's: its own, or another version's that has no DAG of its own."""
    if stream == workflow.live_stream:
        return True
    if workflow.dag_id == names.dag_id(workflow.product, workflow.name, workflow.version):
        return False
    return names.versions_of(workflow.live_stream, workflow.version).fullmatch(stream) is not None
