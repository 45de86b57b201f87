"""The life of one pod on the node: folder, containers, status, end."""

import asyncio
import base64
import contextlib
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from kai_airflow.local.kubernetes import events, mounts, status
from kai_airflow.local.kubernetes.container import ContainerLife
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.launch import Launch, Launcher, Place
from kai_airflow.local.kubernetes.logs import Log
from kai_airflow.local.kubernetes.patience import Patience
from kai_airflow.local.kubernetes.pods import Container, PodSpec
from kai_airflow.local.kubernetes.resources import SECRETS
from kai_airflow.local.kubernetes.status import NotReadyError, Verdict
from kai_airflow.local.kubernetes.store import Key, Store


class Life:
    """One pod. Its folder holds `home` (HOME, and where containers start), `volumes` and `logs`."""

    def __init__(self, store: Store, key: Key, pod: Object, folder: Path, launcher: Launcher) -> None:
        self.patience = Patience()
        self.ended = asyncio.Event()
        self._store, self._key, self._folder = store, key, folder
        self._spec = PodSpec.model_validate(pod["spec"])
        self._containers = {
            container.name: self._contained(container, launcher) for container in self._spec.all_containers
        }
        self._verdict: Verdict | None = None
        self._ordered: Signals | None = None
        self._deadline = float("inf")
        self._deleted = asyncio.Event()
        self._told: set[str] = set()

    async def run(self) -> None:
        """Run the containers; when the pod has been deleted too, take away its folder, then the object."""
        try:
            await self._live()
        except* OSError as error:
            self._verdict = Verdict("NodeError", f"the node can't run the pod: {error.exceptions[0]}")
        self.show()
        self.ended.set()
        await self._deleted.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._store.remove(self._key)

    def log(self, container: str, *, previous: bool) -> Log | None:
        """The log of a container, or of the run before the present one; None where there is none."""
        found = self._containers[container]
        return found.previous if previous else found.log

    def port(self, wanted: int | str) -> int | None:
        """The port of 127.0.0.1 for a containerPort, by its number or name; None where no container has that name."""
        for container in self._spec.containers:
            declared = container.port(wanted)
            if declared is not None and (isinstance(wanted, str) or declared in container.tcp_ports):
                return self._containers[container.name].port(declared)
        return wanted if isinstance(wanted, int) else None

    def delete(self, grace: float) -> None:
        """The pod is to go, within `grace` seconds."""
        self._deleted.set()
        self.stop(grace)

    def stop(self, grace: float) -> None:
        """SIGTERM to the containers now, SIGKILL after `grace` seconds. Asked again, it can only be brought forward."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        if deadline < self._deadline:
            self._deadline = deadline
            loop.call_at(deadline, self._order, SIGKILL)
        if self._ordered is None:
            self._order(SIGTERM)

    def _order(self, number: Signals) -> None:
        self._ordered = number
        self.patience.stopped.set()
        for container in self._containers.values():
            container.signal(number)

    def _contained(self, container: Container, launcher: Launcher) -> ContainerLife:
        # An init container that ended well has done its work, whatever the pod's policy.
        policy = self._spec.restart_policy
        own = "OnFailure" if policy == "Always" and container in self._spec.init_containers else policy
        launch = partial(self._launch, launcher, container)
        return ContainerLife(self, container, own, self._folder / "logs", launch)

    async def _launch(self, launcher: Launcher, container: Container) -> Launch:
        return await launcher.launch(container, Place(self._pod(), self._spec, self._folder, self._secret))

    async def _live(self) -> None:
        self._await("PodInitializing" if self._spec.init_containers else "ContainerCreating")
        self.record("Scheduled", f"Successfully assigned {self._key.namespace}/{self._key.name} to local")
        with self._limited():
            if not await self.patience.until(self._make_folder, self._tell):
                return
            for container in self._spec.init_containers:
                await self._containers[container.name].run()
                if self._ordered or self._phase() == "Failed":
                    return
            self._await("ContainerCreating")
            async with asyncio.TaskGroup() as group:
                for container in self._spec.containers:
                    group.create_task(self._containers[container.name].run())

    def _await(self, reason: str) -> None:
        for container in self._spec.containers:
            self._containers[container.name].expect(reason)

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """Hold the pod to its activeDeadlineSeconds."""
        seconds = self._spec.active_deadline_seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._exceed) if seconds else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def _exceed(self) -> None:
        self._verdict = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        self.stop(self._spec.termination_grace_period_seconds)

    def _tell(self, wait: NotReadyError) -> None:
        """Show once, in an Event, what the pod itself waits for."""
        if wait.message not in self._told:
            self._told.add(wait.message)
            self.record(wait.reason, wait.message, events.WARNING)

    async def _make_folder(self) -> bool:
        pod = self._pod()
        content = {volume.name: mounts.files(volume, pod, self._secret) for volume in self._spec.volumes}
        for name in ("", "home", "logs", "volumes"):
            (self._folder / name).mkdir(mode=0o700)
        for name, files in content.items():
            mounts.write(self._folder / "volumes" / name, files)
        return True

    def _secret(self, name: str) -> Mapping[str, bytes] | None:
        found = self._store.get(Key(SECRETS.plural, self._key.namespace, name))
        return found and {key: base64.b64decode(value) for key, value in found["data"].items()}

    def _pod(self) -> Object:
        return self._store.get(self._key) or {}

    def _phase(self) -> str:
        return status.phase(self._spec, self._standings(), self._verdict)

    def _standings(self) -> status.Standings:
        return {name: container.standing for name, container in self._containers.items()}

    def show(self) -> None:
        """Write the status."""
        pod = self._pod()
        new = status.pod_status(self._spec, self._standings(), pod["status"], self._verdict, datetime.now(UTC))
        self._store.put(self._key, {**pod, "status": new})

    def record(self, reason: str, message: str, kind: str = events.NORMAL, container: str = "") -> None:
        """Keep an Event about the pod, or about one of its containers."""
        init = container in {found.name for found in self._spec.init_containers}
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        events.record(self._store, self._pod(), kind, reason, message, field)
