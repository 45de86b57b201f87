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
States = Mapping[str, State]


@dataclass(frozen=True)
class Verdict:
    """Why a pod failed, where its containers' exit codes don't say it."""

    reason: str
    message: str


def phase(spec: PodSpec, states: States, verdict: Verdict | None = None) -> str:
    """Pending, Running, Succeeded or Failed, for a pod that is never restarted."""
    if verdict is not None or any(_failed(states[container.name]) for container in spec.init_containers):
        return "Failed"
    found = [states[container.name] for container in spec.containers]
    if any(isinstance(state, Waiting) for state in found):
        return "Pending"
    if any(isinstance(state, Running) for state in found):
        return "Running"
    return "Failed" if any(_failed(state) for state in found) else "Succeeded"


def _failed(state: State) -> bool:
    return isinstance(state, Terminated) and state.exit_code != 0


def pod_status(spec: PodSpec, states: States, old: Object, verdict: Verdict | None, moment: datetime) -> Object:
    """The whole status; `old` is the status before, whose times stay where nothing changed."""
    now = phase(spec, states, verdict)
    why = {"reason": verdict.reason, "message": verdict.message} if verdict else {}
    inits = {"initContainerStatuses": _containers(spec.init_containers, states)} if spec.init_containers else {}
    return {
        "phase": now,
        **why,
        "qosClass": old["qosClass"],
        "hostIP": ADDRESS,
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": old.get("startTime") or rfc3339(moment),
        "conditions": _conditions(spec, states, now, old.get("conditions", ()), moment),
        **inits,
        "containerStatuses": _containers(spec.containers, states),
    }


def _containers(containers: Sequence[Container], states: States) -> list[Object]:
    return [_container(container, states[container.name]) for container in containers]


def _container(container: Container, state: State) -> Object:
    running = isinstance(state, Running)
    return {
        "name": container.name,
        "image": container.image,
        "imageID": container.image,
        "ready": running,
        "started": running,
        "restartCount": 0,
        "state": state.as_json(),
        "lastState": {},
        **_id(state),
    }


def _id(state: State) -> Object:
    return {"containerID": f"process://{state.pid}"} if not isinstance(state, Waiting) and state.pid else {}


def _conditions(spec: PodSpec, states: States, now: str, old: Sequence[Object], moment: datetime) -> list[Object]:
    ended = {"reason": "PodCompleted"} if now == "Succeeded" else {"reason": "PodFailed"} if now == "Failed" else None
    running = all(isinstance(states[container.name], Running) for container in spec.containers)
    inits = [states[container.name] for container in spec.init_containers]
    initialized = all(isinstance(state, Terminated) and state.exit_code == 0 for state in inits)
    not_ready = ended or {"reason": "ContainersNotReady"}
    found = {
        "PodScheduled": (True, {}),
        "Initialized": (initialized, {} if initialized else {"reason": "ContainersNotInitialized"}),
        "ContainersReady": (running, {} if running else not_ready),
        "Ready": (running, {} if running else not_ready),
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
