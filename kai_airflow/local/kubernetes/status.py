"""A pod's status, from the states of its containers. Pure. Source: Kubernetes' documentation of the pod lifecycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from signal import Signals

from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import rfc3339
from kai_airflow.local.kubernetes.pods import Container, PodSpec

ADDRESS = "127.0.0.1"


class NotReadyError(StackError):
    """Something that a container waits for; `reason` is Kubernetes' word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True)
class Waiting:
    """Not started yet."""

    reason: str = "ContainerCreating"
    message: str = ""

    def as_json(self) -> Object:
        """The state as a pod's status has it."""
        text = {"message": self.message} if self.message else {}
        return {"waiting": {"reason": self.reason, **text}}


@dataclass(frozen=True)
class Running:
    """Running as the process `pid`."""

    started: datetime
    pid: int

    def as_json(self) -> Object:
        """The state as a pod's status has it."""
        return {"running": {"startedAt": rfc3339(self.started)}}


@dataclass(frozen=True)
class Terminated:
    """Ended, or never come to run (StartError)."""

    exit_code: int
    reason: str
    started: datetime
    finished: datetime
    pid: int = 0
    signal: int = 0
    message: str = ""

    @classmethod
    def of(cls, running: Running, code: int, finished: datetime) -> "Terminated":
        """A process that ended with an exit code, or by a signal (negative): then 128 + signal, as a shell says."""
        reason = "Completed" if code == 0 else "Error"
        exit_code, number = (code, 0) if code >= 0 else (128 - code, -code)
        text = f"ended by {Signals(number).name}" if number in set(Signals) else ""
        return cls(exit_code, reason, running.started, finished, running.pid, number, text)

    def as_json(self) -> Object:
        """The state as a pod's status has it."""
        known = {"signal": self.signal, "message": self.message}
        times = {"startedAt": rfc3339(self.started), "finishedAt": rfc3339(self.finished)}
        more = {name: value for name, value in known.items() if value}
        return {"terminated": {"exitCode": self.exit_code, "reason": self.reason, **times, **_id(self), **more}}


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class Standing:
    """How a container stands: its state, how the run before ended, how often it was restarted, whether it is ready."""

    state: State = Waiting()
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False


Standings = Mapping[str, Standing]


@dataclass(frozen=True)
class Verdict:
    """Why a pod failed, where its containers' exit codes don't say it."""

    reason: str
    message: str


def phase(spec: PodSpec, standings: Standings, verdict: Verdict | None = None) -> str:
    """Pending, Running, Succeeded or Failed, as a kubelet judges."""
    if verdict is not None or any(_failed(spec, standings[container.name]) for container in spec.init_containers):
        return "Failed"
    found = [standings[container.name] for container in spec.containers]
    if any(isinstance(one.state, Waiting) and one.last is None for one in found):
        return "Pending"
    if not all(isinstance(one.state, Terminated) for one in found) or spec.restart_policy == "Always":
        return "Running"
    if any(_failed(spec, one) for one in found):
        return "Failed"
    return "Succeeded" if all(_ended_well(one.state) for one in found) else "Running"


def restarts(policy: str, state: State) -> bool:
    """Whether a restartPolicy wants a container that ended so started again."""
    return policy == "Always" or (policy == "OnFailure" and not _ended_well(state))


def _ended_well(state: State) -> bool:
    return isinstance(state, Terminated) and state.exit_code == 0


def _failed(spec: PodSpec, standing: Standing) -> bool:
    """Whether a container has failed for good."""
    state = standing.state
    return spec.restart_policy == "Never" and isinstance(state, Terminated) and state.exit_code != 0


def pod_status(spec: PodSpec, standings: Standings, old: Object, verdict: Verdict | None, moment: datetime) -> Object:
    """The whole status; `old` is the status before, whose times stay where nothing changed."""
    now = phase(spec, standings, verdict)
    why = {"reason": verdict.reason, "message": verdict.message} if verdict else {}
    inits = {"initContainerStatuses": _containers(spec.init_containers, standings)} if spec.init_containers else {}
    return {
        "phase": now,
        **why,
        "qosClass": old["qosClass"],
        "hostIP": ADDRESS,
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": old.get("startTime") or rfc3339(moment),
        "conditions": _conditions(spec, standings, now, old.get("conditions", ()), moment),
        **inits,
        "containerStatuses": _containers(spec.containers, standings),
    }


def _containers(containers: Sequence[Container], standings: Standings) -> list[Object]:
    return [_container(container, standings[container.name]) for container in containers]


def _container(container: Container, standing: Standing) -> Object:
    state, last = standing.state, standing.last
    return {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": standing.ready,
        "started": isinstance(state, Running),
        "restartCount": standing.restarts,
        "state": state.as_json(),
        "lastState": last.as_json() if last else {},
        **_id(state),
    }


def _id(state: State) -> Object:
    return {"containerID": f"process://{state.pid}"} if not isinstance(state, Waiting) and state.pid else {}


def _conditions(spec: PodSpec, standings: Standings, now: str, old: Sequence[Object], moment: datetime) -> list[Object]:
    ended = {"reason": "PodCompleted"} if now == "Succeeded" else {"reason": "PodFailed"} if now == "Failed" else None
    ready = all(standings[container.name].ready for container in spec.containers)
    initialized = all(_ended_well(standings[container.name].state) for container in spec.init_containers)
    not_ready = ended or {"reason": "ContainersNotReady"}
    found = {
        "PodScheduled": (True, {}),
        "Initialized": (initialized, {} if initialized else {"reason": "ContainersNotInitialized"}),
        "ContainersReady": (ready, {} if ready else not_ready),
        "Ready": (ready, {} if ready else not_ready),
    }
    before = {(condition["type"], condition["status"]): condition["lastTransitionTime"] for condition in old}
    return [
        {
            "type": kind,
            "status": str(true),
            "lastTransitionTime": before.get((kind, str(true)), rfc3339(moment)),
            **why,
        }
        for kind, (true, why) in found.items()
    ]
