"""The life of one pod on the node: folder, containers, status, end."""

import asyncio
import base64
import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import TypeVar

from kai_airflow.local.kubernetes import environment, events, mounts, status
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.images import ImageMap
from kai_airflow.local.kubernetes.logs import Log
from kai_airflow.local.kubernetes.pods import Container, PodSpec
from kai_airflow.local.kubernetes.process import Process, StartError
from kai_airflow.local.kubernetes.resources import SECRETS
from kai_airflow.local.kubernetes.status import NotReadyError, Running, State, Terminated, Verdict, Waiting
from kai_airflow.local.kubernetes.store import Key, Store

LOOK_AGAIN = 1.0
"""Seconds between two looks at the image map by a container that waits for it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """What a container is started with."""

    words: list[str]
    environment: Mapping[str, str]
    folder: str


class Life:
    """One pod. Its folder holds `home` (HOME, and where containers start), `volumes` and `logs`."""

    def __init__(self, store: Store, key: Key, pod: Object, folder: Path, images: ImageMap) -> None:
        self.logs: dict[str, Log] = {}
        self.ended = asyncio.Event()
        self._store, self._key, self._folder, self._images = store, key, folder, images
        self._spec = PodSpec.model_validate(pod["spec"])
        first = Waiting("PodInitializing") if self._spec.init_containers else Waiting()
        self._states: dict[str, State] = {container.name: first for container in self._spec.all_containers}
        self._processes: dict[str, Process] = {}
        self._verdict: Verdict | None = None
        self._ordered: Signals | None = None
        self._deadline = float("inf")
        self._deleted = asyncio.Event()
        self._news = asyncio.Event()
        self._told: set[str] = set()

    async def run(self) -> None:
        """Run the containers; when the pod has been deleted too, take away its folder, then the object."""
        try:
            await self._live()
        except* OSError as error:
            self._verdict = Verdict("NodeError", f"the node can't run the pod: {error.exceptions[0]}")
        self._write_status()
        self.ended.set()
        await self._deleted.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._store.remove(self._key)

    def look_again(self) -> None:
        """Something that a container may wait for has changed."""
        self._news.set()

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
        self._news.set()
        for name, process in self._processes.items():
            process.signal(number)
            if number == SIGTERM:
                self._record("Killing", f"Stopping container {name}", container=name)

    async def _live(self) -> None:
        self._write_status()
        self._record("Scheduled", f"Successfully assigned {self._key.namespace}/{self._key.name} to local")
        with self._limited():
            if not await self._until(self._make_folder):
                return
            for container in self._spec.init_containers:
                await self._contain(container)
                if status.phase(self._spec, self._states) == "Failed" or self._ordered:
                    return
            self._states |= {container.name: Waiting() for container in self._spec.containers}
            async with asyncio.TaskGroup() as group:
                for container in self._spec.containers:
                    group.create_task(self._contain(container))

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

    async def _contain(self, container: Container) -> None:
        """Bring one container to its end; returns early, without a process, where the pod is stopped first."""
        launch = await self._until(partial(self._launch, container), container)
        if launch is None:
            return
        self._record("Pulled", f"The image map has a command for {container.image}", container=container.name)
        begun = datetime.now(UTC)
        log = self.logs[container.name] = Log(self._folder / "logs" / container.name)
        try:
            process = await Process.start(launch.words, launch.environment, launch.folder)
        except StartError as error:
            self._record("Failed", f"Error: {error}", events.WARNING, container.name)
            failed = Terminated(128, "StartError", begun, datetime.now(UTC), message=str(error))
            self._set(container.name, failed)
            return
        await self._accompany(container.name, process, log)

    async def _accompany(self, name: str, process: Process, log: Log) -> None:
        """From a process's start to its end. Its log is closed last: who followed it then finds the state ended."""
        running = Running(datetime.now(UTC), process.pid)
        self._processes[name] = process
        if self._ordered:
            process.signal(self._ordered)
        self._set(name, running)
        self._record("Created", f"Created container: {name}", container=name)
        self._record("Started", f"Started container {name}", container=name)
        try:
            await log.fill(process.output)
        finally:
            process.signal(SIGKILL)  # only where the log can't be written, or the server stops
            code = await process.wait()
            del self._processes[name]
            self._set(name, Terminated.of(running, code, datetime.now(UTC)))
            log.close()

    async def _until(self, attempt: Callable[[], T], container: Container | None = None) -> T | None:
        """What the attempt gives once it no longer raises NotReadyError; None where the pod is stopped first."""
        while not self._ordered:
            self._news.clear()
            try:
                return attempt()
            except NotReadyError as wait:
                self._tell(wait, container)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_AGAIN)
        return None

    def _tell(self, wait: NotReadyError, container: Container | None) -> None:
        """Show what is waited for: in the container's state, and once in an Event."""
        known = wait.message in self._told
        self._told.add(wait.message)
        if container is None:
            if not known:
                self._record(wait.reason, wait.message, events.WARNING)
            return
        reason, message, event = wait.reason, wait.message, "Failed"
        if known and reason == "ErrImagePull":
            reason, message = "ImagePullBackOff", f'Back-off pulling image "{container.image}": {message}'
            event, known = "BackOff", message in self._told
            self._told.add(message)
        self._set(container.name, Waiting(reason, message))
        if not known:
            self._record(event, message, events.WARNING, container.name)

    def _make_folder(self) -> bool:
        pod = self._pod()
        content = {volume.name: mounts.files(volume, pod, self._secret) for volume in self._spec.volumes}
        for name in ("", "home", "logs", "volumes"):
            (self._folder / name).mkdir(mode=0o700)
        for name, files in content.items():
            mounts.write(self._folder / "volumes" / name, files)
        return True

    def _launch(self, container: Container) -> Launch:
        words = self._images.command(container)
        variables = environment.variables(container, self._pod(), self._secret)
        mounts.make_sub_paths(container, self._folder / "volumes")
        rewrite = mounts.rewriter(container, self._folder / "volumes")
        home = self._folder / "home"
        return Launch(
            [rewrite(environment.expand(word, variables)) for word in words],
            environment.base(home) | {name: rewrite(value) for name, value in variables.items()},
            rewrite(container.working_dir) or str(home),
        )

    def _secret(self, name: str) -> Mapping[str, bytes] | None:
        found = self._store.get(Key(SECRETS.plural, self._key.namespace, name))
        return found and {key: base64.b64decode(value) for key, value in found["data"].items()}

    def _pod(self) -> Object:
        return self._store.get(self._key) or {}

    def _set(self, name: str, state: State) -> None:
        self._states[name] = state
        self._write_status()

    def _write_status(self) -> None:
        pod = self._pod()
        new = status.pod_status(self._spec, self._states, pod["status"], self._verdict, datetime.now(UTC))
        self._store.put(self._key, {**pod, "status": new})

    def _record(self, reason: str, message: str, kind: str = events.NORMAL, container: str = "") -> None:
        init = container in {found.name for found in self._spec.init_containers}
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        events.record(self._store, self._pod(), kind, reason, message, field)
