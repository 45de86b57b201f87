"""What a product is doing, in KAI's words (KAI reference, section 6). Pure: derived from what is there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kai_airflow.kube.found import works
from kai_airflow.kube.ingress import published
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kai_airflow.bridge.client import Dag
    from kai_airflow.kube import Published
    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow

Key = tuple[str, str]  # of an object: its namespace and name
State = Literal["CREATED", "STARTING", "STARTED", "PUBLISHED", "STOPPING", "STOPPED", "ERROR"]

# The first of these that one of several has, all of them have.
_RUNNING: tuple[State | None, ...] = ("ERROR", None, "STARTING", "STARTED")
_RESTING: tuple[State | None, ...] = ("STOPPING", None, "STOPPED", "CREATED")


@dataclass(frozen=True)
class ProcessStatus:
    """A process. ``lives`` beside the runs, or only in them; ``state`` is None then, and where Kubernetes can't tell.

    ``cause``: why it isn't (yet) what it should be.
    """

    name: str
    type: str
    image: str
    lives: bool
    state: State | None
    cause: str
    ready: int
    wanted: int


@dataclass(frozen=True)
class WorkflowStatus:
    """A workflow. ``paused`` is None where Airflow doesn't know its DAG (yet), ``state`` where nobody can tell.

    ``waiting``: messages of its triggers that have not become runs, or that its processes have not taken; None where
    nobody can tell.
    """

    dag_id: str
    name: str
    type: str
    mode: str
    state: State | None
    cause: str
    paused: bool | None
    waiting: int | None
    processes: tuple[ProcessStatus, ...]

    @property
    def own_cause(self) -> str:
        """Its cause, where none of its processes tells one."""
        return "" if any(process.cause for process in self.processes) else self.cause


@dataclass(frozen=True)
class ProductStatus:
    """A version of a product. ``published``: what of it its Ingress publishes."""

    product: str
    version: str
    state: State | None
    cause: str
    published: tuple[Published, ...]
    workflows: tuple[WorkflowStatus, ...]

    @property
    def own_cause(self) -> str:
        """Its cause, where none of its workflows or their processes tells one."""
        return "" if any(workflow.cause for workflow in self.workflows) else self.cause

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Objects:
    """What Kubernetes holds of a site, as the API's own JSON.

    :param namespace: where a workflow lives whose KRT names none
    :param causes: why Deployments aren't ready, by namespace and name
    :param troubles: why a bridge can't make or correct what it should, by NAMESPACE/NAME, or NAMESPACE
    """

    namespace: str
    deployments: Sequence[Manifest] = ()
    pods: Sequence[Manifest] = ()
    ingresses: Sequence[Manifest] = ()
    causes: Mapping[Key, str] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)
    _deployments: dict[Key, Manifest] = field(init=False, default_factory=dict)
    _pods: dict[tuple[str, ...], list[Manifest]] = field(init=False, default_factory=lambda: defaultdict(list))
    _ingresses: dict[Key, Manifest] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._deployments.update((_key(one), one) for one in self.deployments)
        self._ingresses.update((_key(one), one) for one in self.ingresses)
        for pod in self.pods:
            self._pods[_owner(pod)].append(pod)

    def deployment(self, workflow: Workflow, process: Process) -> Manifest | None:
        """The Deployment of a process; one that is being deleted is gone."""
        found = self._deployments.get((self._where(workflow), process.live.deployment)) if process.live else None
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def pods_of(self, workflow: Workflow, process: Process) -> list[Manifest]:
        """Its pods, those that are ending as well."""
        version = names.label(workflow.version)
        owner = (self._where(workflow), workflow.product, version, workflow.name, process.name)
        return self._pods.get(owner, [])

    def cause(self, deployment: Manifest) -> str:
        """Why a Deployment isn't ready, empty where nothing is wrong."""
        return self.causes.get(_key(deployment), "")

    def trouble(self, workflow: Workflow, process: Process) -> str:
        """What keeps a bridge from having a process as it should be, empty where nothing does."""
        where = self._where(workflow)
        own = self.troubles.get(f"{where}/{process.live.deployment}") if process.live else None
        return own or self.troubles.get(where, "")

    def ingress(self, workflow: Workflow) -> Manifest | None:
        """The Ingress of a workflow's product, of whichever version."""
        return self._ingresses.get((self._where(workflow), names.ingress(workflow.product)))

    def _where(self, workflow: Workflow) -> str:
        return workflow.namespace or self.namespace


@dataclass(frozen=True)
class Facts:
    """All that states are derived from.

    :param dags: those that Airflow knows, by id
    :param touched: ids of DAGs that somebody has paused or unpaused
    :param objects: None where Kubernetes is out of reach
    :param waiting: messages that wait, by DAG id, where it is known
    """

    dags: Mapping[str, Dag] = field(default_factory=dict)
    touched: Collection[str] = frozenset()
    objects: Objects | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)


def by_product(workflows: Iterable[Workflow]) -> dict[tuple[str, str], list[Workflow]]:
    """Workflows by product and version, in order."""
    found: dict[tuple[str, str], list[Workflow]] = defaultdict(list)
    for one in sorted(workflows, key=lambda one: (one.product, _number(one.version), one.name)):
        found[one.product, one.version].append(one)
    return dict(found)


def product_status(workflows: Sequence[Workflow], facts: Facts) -> ProductStatus:
    """The state of a version, whose workflows these are."""
    shown = published_version(workflows, facts.objects)
    statuses = tuple(_workflow_status(one, facts) for one in workflows)
    return combined(workflows[0].product, workflows[0].version, statuses, shown)


def combined(
    product: str, version: str, workflows: tuple[WorkflowStatus, ...], shown: tuple[Published, ...] = ()
) -> ProductStatus:
    """The state of a version with these workflows. Those that run decide; where none does, those that don't."""
    running = [one for one in workflows if one.paused is False]
    state, why = _first(((one.state, one.name, one.cause) for one in running or workflows), wanted=bool(running))
    if state == "STARTED":
        paused = [one.name for one in workflows if one not in running]
        state, why = "PUBLISHED" if shown else "STARTED", why or (f"paused: {', '.join(paused)}" if paused else "")
    return ProductStatus(product, version, state, why, shown, workflows)


def published_version(workflows: Sequence[Workflow], objects: Objects | None) -> tuple[Published, ...]:
    """What is published of this version; nothing where the product's Ingress is another version's."""
    found = objects.ingress(workflows[0]) if objects else None
    if found is None or version_label(found) != names.label(workflows[0].version):
        return ()
    return published(found, workflows)


def version_label(ingress: Manifest) -> str:
    """The version that an Ingress publishes, as its label says."""
    return str((ingress["metadata"].get("labels") or {}).get("version", ""))


def _workflow_status(workflow: Workflow, facts: Facts) -> WorkflowStatus:
    dag = facts.dags.get(workflow.dag_id)
    wanted = dag is not None and not dag.paused
    processes = tuple(_process_status(workflow, one, facts.objects, wanted=wanted) for one in workflow.processes)
    state, why = _first(((one.state, one.name, one.cause) for one in processes if one.lives), wanted=wanted)
    if dag is None:
        why = why or "Airflow has no such DAG (yet)"
    elif dag.broken and wanted:
        state, why = "ERROR", "its KRT file has errors: Airflow shows them as an import error"
    if state == "STOPPED" and workflow.dag_id not in facts.touched:
        state = "CREATED"
    return WorkflowStatus(
        dag_id=workflow.dag_id,
        name=workflow.name,
        type=workflow.type,
        mode=workflow.mode,
        state=state,
        cause=why,
        paused=None if dag is None else dag.paused,
        waiting=facts.waiting.get(workflow.dag_id),
        processes=processes,
    )


def _process_status(workflow: Workflow, process: Process, objects: Objects | None, *, wanted: bool) -> ProcessStatus:
    state: State | None = None
    why, ready, replicas = "", 0, 0
    if process.live and objects:
        deployment, pods = objects.deployment(workflow, process), objects.pods_of(workflow, process)
        ready = _count(deployment, "status", "readyReplicas")
        replicas = _count(deployment, "spec", "replicas") or int(wanted)
        trouble = objects.trouble(workflow, process)
        state, why = _rising(deployment, pods, objects, trouble) if wanted else _sinking(deployment, pods)
    lives = process.live is not None
    return ProcessStatus(process.name, process.type, process.image, lives, state, why, ready, replicas)


def _rising(deployment: Manifest | None, pods: Sequence[Manifest], objects: Objects, trouble: str) -> tuple[State, str]:
    if deployment is None:
        return ("ERROR", trouble) if trouble else ("STARTING", "no bridge has made its Deployment yet")
    if works(deployment, pods):
        return "STARTED", trouble
    why = objects.cause(deployment) or trouble
    return ("ERROR" if why and not _may_start(pods) else "STARTING"), why


def _may_start(pods: Sequence[Manifest]) -> bool:
    """Whether the newest pod may become ready by itself: it runs for the first time, or no node has taken it yet."""
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    newest = max(staying, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", default={})
    status = newest.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return bool(newest) and all(not one.get("restartCount") and _runs(one.get("state") or {}) for one in containers)


def _runs(state: Mapping[str, Any]) -> bool:
    return "running" in state or (state.get("terminated") or {}).get("exitCode") == 0


def _sinking(deployment: Manifest | None, pods: Sequence[Manifest]) -> tuple[State, str]:
    if deployment is None and not pods:
        return "STOPPED", ""
    return "STOPPING", f"{len(pods)} pod(s) still there"


def _first(states: Iterable[tuple[State | None, str, str]], *, wanted: bool) -> tuple[State | None, str]:
    """What holds of all that have a state, a name and a cause: the state that comes first, with who has it and why.

    Of several that have it, one with a cause. Where nobody has a state, nothing hinders.
    """
    order = _RUNNING if wanted else _RESTING
    listed = sorted(states, key=lambda one: (order.index(one[0]), not one[2]))
    if not listed:
        return ("STARTED" if wanted else "STOPPED"), ""
    state, name, why = listed[0]
    return state, f"{name}: {why}" if why else ""


def _count(found: Manifest | None, part: str, key: str) -> int:
    return int(((found or {}).get(part) or {}).get(key) or 0)


def _number(version: str) -> list[int]:
    return [int(part) for part in version[1:].split(".")]


def _key(found: Manifest) -> Key:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def _owner(pod: Manifest) -> tuple[str, ...]:
    labels = pod["metadata"].get("labels") or {}
    own = (str(labels.get(key, "")) for key in ("product", "version", "workflow", "process"))
    return (pod["metadata"].get("namespace", ""), *own)
