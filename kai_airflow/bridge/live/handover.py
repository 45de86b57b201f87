"""Which long-lived processes there should be, and when those may go that no KRT names any more. Pure.

A new version of a product has Deployments and live streams of its own. The old version's stay until the new ones are
ready; then its triggers go, and when all that its stream holds is done, its tasks and exits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.found import dag_of, is_ready, stream_of
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence, Set

    from kai_airflow.kube.objects import Manifest
    from kai_airflow.plan import Process, Workflow
    from kai_airflow.plan.names import Stream


class NotThereError(KaiAirflowError):
    """A version is published that isn't there any more, and nobody can tell which took its place."""

    def __init__(self, product: str, version: str, others: Sequence[str]) -> None:
        super().__init__(
            f"{version} of {product} is published, and no KRT has it any more. Remedy: publish one of "
            f"{', '.join(others)}, or unpublish it."
        )


class Place(NamedTuple):
    """Where the objects of one process are: they share a name."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Wanted:
    """A process that should live."""

    workflow: Workflow
    process: Process


def wanted(workflows: Iterable[Workflow], unpaused: Container[str], namespace: str) -> dict[Place, Wanted]:
    """All that should live; ``namespace`` is that of workflows whose KRT names none."""
    return {
        Place(workflow.namespace or namespace, process.live.deployment): Wanted(workflow, process)
        for workflow in workflows
        if workflow.dag_id in unpaused
        for process in workflow.processes
        if process.live
    }


class Verdict(Enum):
    """What becomes of a process that isn't wanted."""

    STAYS = auto()
    GOES = auto()
    GOES_IN_TIME = auto()  # after those who wait for an answer had their time
    GOES_WHEN_IDLE = auto()  # when its stream has nothing left to do


@dataclass(frozen=True)
class Left:
    """A process that isn't wanted, as its objects tell; without a Deployment it doesn't run."""

    name: str
    dag_id: str
    stream: Stream
    type: str
    runs: bool
    is_called: bool

    @classmethod
    def of(cls, found: Manifest, deployment: Manifest | None) -> Left:
        """Read it back from one of its objects, and its Deployment."""
        meta = found["metadata"]
        return cls(
            name=meta["name"],
            dag_id=dag_of(found),
            stream=stream_of(found),
            type=(meta.get("labels") or {}).get("type", ""),
            runs=deployment is not None,
            is_called=deployment is not None and any(one.get("ports") for one in _containers(deployment)),
        )


@dataclass(frozen=True)
class Known:
    """What a verdict needs to know.

    ``streams``: the live stream of each DAG that is unpaused and in a KRT. ``active``: DAGs that are unpaused, and that
    Airflow still parses. ``ready``: DAGs whose processes are all ready. ``routed``: Services that an Ingress names.
    ``triggers``: live streams of which triggers are still there.
    """

    streams: Mapping[str, str] = field(default_factory=dict)
    active: Set[str] = frozenset()
    ready: Set[str] = frozenset()
    routed: Set[str] = frozenset()
    triggers: Set[str] = frozenset()


def verdict(left: Left, known: Known) -> Verdict:
    """What becomes of a process that isn't wanted."""
    stream = known.streams.get(left.dag_id)
    if stream is None:
        # A DAG that runs though nobody finds its KRT: a folder that can't be read looks like one that is empty.
        return Verdict.STAYS if left.dag_id in known.active or _is_awaited(left, known) else Verdict.GOES
    if stream == left.stream or not left.runs:
        return Verdict.GOES
    if left.dag_id not in known.ready:
        return Verdict.STAYS
    if left.type != "trigger":
        return Verdict.STAYS if _is_awaited(left, known) else Verdict.GOES_WHEN_IDLE
    if not left.is_called:
        return Verdict.GOES
    return Verdict.STAYS if left.name in known.routed else Verdict.GOES_IN_TIME


def _is_awaited(left: Left, known: Known) -> bool:
    """Whether triggers may still wait for what it answers: they take in nothing new, and have a moment to end."""
    return left.type != "trigger" and left.stream in known.triggers


def ready_dags(
    dags: Iterable[str], places: Mapping[Place, Wanted], deployments: Mapping[Place, Manifest]
) -> frozenset[str]:
    """Those of the DAGs of which no process that should live isn't ready."""
    waiting = {one.workflow.dag_id for place, one in places.items() if not is_ready(deployments.get(place))}
    return frozenset(dags) - waiting


def published(version: str, workflows: Sequence[Workflow]) -> list[Workflow]:
    """The workflows of the version that is published, as an Ingress is labelled; of the one that took its place.

    :raises NotThereError: nobody can tell which one did
    """
    versions = {names.label(one.version) for one in workflows}
    if version not in versions and len(versions) > 1:
        raise NotThereError(workflows[0].product, version, sorted(versions))
    return [one for one in workflows if len(versions) == 1 or names.label(one.version) == version]


def routed_to(ingresses: Iterable[Manifest]) -> frozenset[str]:
    """The Services that Ingresses name."""
    return frozenset(_backend(path) for one in ingresses for _, path in _paths(one))


def routed(manifest: Manifest, found: Mapping[str, Any], ready: Container[str]) -> Manifest:
    """An Ingress as it should be now: where a Service isn't ready yet, calls go on to where they go as ``found``."""
    before = {(host, path.get("path")): path for host, path in _paths(found)}
    rules = []
    for rule in manifest["spec"]["rules"]:
        paths = [
            path if _backend(path) in ready else {**path, "backend": _former(before, rule, path)["backend"]}
            for path in rule["http"]["paths"]
        ]
        rules.append({**rule, "http": {"paths": paths}})
    return {**manifest, "spec": {**manifest["spec"], "rules": rules}}


def _former(before: Mapping[Any, Manifest], rule: Manifest, path: Manifest) -> Manifest:
    return before.get((rule.get("host"), path["path"]), path)


def _paths(ingress: Mapping[str, Any]) -> Iterable[tuple[str | None, Manifest]]:
    for rule in ingress["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield rule.get("host"), path


def _backend(path: Manifest) -> str:
    return str(((path.get("backend") or {}).get("service") or {}).get("name"))


def _containers(deployment: Manifest) -> list[Manifest]:
    return list(deployment["spec"]["template"]["spec"]["containers"])
