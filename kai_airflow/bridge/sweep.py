"""Finds pods of tries that no task waits for any more, and ends them; a pod takes its Secret along.

A task ends its own pods. What remains is what a task couldn't: its worker was killed and there is no next try, its run
was deleted meanwhile, or Kubernetes was out of reach when the pods should have been deleted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kubernetes_asyncio.client import ApiException, V1DeleteOptions, V1Preconditions

from kai_airflow.kube import TRY_LABEL, TaskName, task_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# A task and its pod begin and end within moments of each other: a younger pod is left alone, in seconds.
YOUNGEST = 10.0

# States in which a task works with its pods, or its next try may go on with them.
ACTIVE = frozenset({"running", "queued", "scheduled", "deferred", "restarting", "up_for_retry", "up_for_reschedule"})

_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True)
class Orphan:
    """A pod that nobody waits for, and the state of its task: None where Airflow doesn't know the task (any more)."""

    namespace: str
    pod: str
    uid: str
    task: TaskName
    state: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        task = f"{self.task.task_id} of run {self.task.run_id} of {self.task.dag_id}"
        return f"pod {self.namespace}/{self.pod}: {task} is {self.state or 'not waiting for it'}"


async def orphans(
    api: Any, airflow: str, namespace: str | None, state: Callable[[TaskName], Awaitable[str | None]]
) -> AsyncIterator[Orphan]:
    """The pods of tries whose tasks have ended.

    :param api: a CoreV1Api of the asyncio client
    :param airflow: the URL of the Airflow that is asked; pods of others are left alone
    :param namespace: None is all of them
    :param state: asks Airflow for a task's state
    :raises ApiException: Kubernetes refuses to list pods
    """
    for pod in await _pods(api, namespace):
        task = task_of(pod.metadata.annotations or {})
        if task is None or task.airflow != airflow or pod.metadata.deletion_timestamp or _age(pod) < YOUNGEST:
            continue
        found = await state(task)
        if found not in ACTIVE:
            yield Orphan(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, task, found)


async def end(api: Any, orphan: Orphan) -> None:
    """Delete that very pod, not one that has taken its name. Raises ApiException where Kubernetes refuses."""
    options = V1DeleteOptions(preconditions=V1Preconditions(uid=orphan.uid))
    try:
        await api.delete_namespaced_pod(orphan.pod, orphan.namespace, body=options)
    except ApiException as error:
        if error.status not in (_NOT_FOUND, _CONFLICT):
            raise


async def _pods(api: Any, namespace: str | None) -> list[Any]:
    if namespace is None:
        return list((await api.list_pod_for_all_namespaces(label_selector=TRY_LABEL)).items)
    return list((await api.list_namespaced_pod(namespace, label_selector=TRY_LABEL)).items)


def _age(pod: Any) -> float:
    return float((datetime.now(UTC) - pod.metadata.creation_timestamp).total_seconds())
