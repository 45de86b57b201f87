"""podman or docker, for images that the image map doesn't have.

A container runs in this machine's network, as processes do, and sees the pod's volumes at their real paths. Further
options are the engine's own business: podman reads them in containers.conf (CONTAINERS_CONF names another one), docker
in its config.json. Registries and logins are the engine's, too: imagePullSecrets aren't used.
"""

import asyncio
import csv
import io
import os
import re
import secrets
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kai_airflow.local import ports
from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes import environment
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.mounts import Bind
from kai_airflow.local.kubernetes.pods import Container
from kai_airflow.local.kubernetes.status import NotReadyError

VARIABLE = "KAI_AIRFLOW_ENGINE"
"""Names the engine's program; `none` means that images run by the image map alone."""

KNOWN = ("podman", "docker")
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds between two attempts to pull an image, doubled from the one to the other."""

PORT_TAKEN = "PortTaken"
"""The reason of a container that waits for its port."""

_LABEL = "kai-airflow/home"
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.:/@-]*", re.ASCII)


@dataclass(frozen=True)
class Run:
    """The words of one run and their environment, and the words that take away what may be left of it."""

    words: Sequence[str]
    environment: Mapping[str, str]
    after: Sequence[str]


@dataclass
class _Failure:
    """A pull that failed, and when it may be tried again."""

    message: str
    pause: float
    again: float


def find(environ: Mapping[str, str]) -> str | None:
    """The program of the engine: the one that KAI_AIRFLOW_ENGINE names, or podman, or docker; None without any.

    Raises StackError where the one that is named isn't there.
    """
    named = environ.get(VARIABLE, "")
    if named == "none":
        return None
    found = next(filter(None, (shutil.which(name) for name in ([named] if named else KNOWN))), None)
    if named and found is None:
        raise StackError(f"{VARIABLE}={named}: no such program. Remedy: install it, or say {VARIABLE}=none.")
    return found


class Engine:
    """Runs images by a program. All containers bear the home of their server as a label."""

    def __init__(self, program: str, home: Path) -> None:
        self._program, self._home = program, home
        self._cleared = asyncio.Event()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failures: dict[str, _Failure] = {}

    @property
    def name(self) -> str:
        """podman, docker."""
        return Path(self._program).name

    async def provide(self, image: str, policy: str) -> None:
        """See that the image is there. Raises NotReadyError with Kubernetes' reason where it isn't."""
        await self._cleared.wait()
        if not _REFERENCE.fullmatch(image):
            raise NotReadyError("InvalidImageName", f"{image!r} is no name of an image")
        async with self._locks[image]:
            if policy != "Always" and await self._has(image):
                return
            if policy == "Never":
                raise NotReadyError("ErrImageNeverPull", f"{self.name} doesn't have image {image}, nor may pull it")
            await self._pull(image)

    def require_free(self, wanted: Sequence[int]) -> None:
        """Raise NotReadyError for a port that another program listens on."""
        for port in wanted:
            if not ports.is_free(port):
                what = f"port {port} of this machine is taken, and images that {self.name} runs share its network"
                remedy = "stop what listens there, or give the image a command in images.yaml"
                raise NotReadyError(PORT_TAKEN, f"{what}. Remedy: {remedy}.")

    def run(self, container: Container, variables: Mapping[str, str], pod: Object, binds: Sequence[Bind]) -> Run:
        """One run of a container. Values of variables aren't among the words, which everybody on this machine sees."""
        name = f"kai-{pod['uid']}-{container.name}-{secrets.token_hex(4)}"
        labels = {**pod.get("labels", {}), _LABEL: str(self._home)}
        command = [environment.expand(word, variables) for word in (*container.command, *container.args)]
        options = [
            *(f"--name={name}", "--rm", "--network=host", "--pull=never", "--log-driver=none"),
            *(f"--label={key}={value}" for key, value in labels.items()),
            *(f"--mount={_mount(bind)}" for bind in binds),
            *(f"--env={self._shown(key, value)}" for key, value in variables.items()),
            *([f"--workdir={container.working_dir}"] if container.working_dir else []),
            *([f"--entrypoint={command[0]}"] if container.command else []),
        ]
        rest = command[1:] if container.command else command
        own = {**variables, **os.environ}
        return Run([self._program, "run", *options, "--", container.image, *rest], own, self._removal(name))

    async def clear(self) -> None:
        """Take away the containers that a server of this home left when it was killed. No other starts before."""
        code, text = await self._tell("ps", "--all", "--quiet", f"--filter=label={_LABEL}={self._home}")
        if code == 0 and text:
            await self._tell("rm", "--force", *text.split())
        self._cleared.set()

    def _removal(self, name: str) -> list[str]:
        return [self._program, "rm", "--force", name]

    def _shown(self, key: str, value: str) -> str:
        """`NAME` stands for the engine's own variable, which is the container's, unless the engine needs its own.

        A name with a star would stand for many.
        """
        return f"{key}={value}" if key in os.environ or "*" in key else key

    async def _has(self, image: str) -> bool:
        code, _ = await self._tell("image", "inspect", "--format={{.Id}}", "--", image)
        return code == 0

    async def _pull(self, image: str) -> None:
        now = asyncio.get_running_loop().time()
        failure = self._failures.get(image)
        if failure is None or failure.again <= now:
            code, text = await self._tell("pull", "--quiet", "--", image)
            if code == 0:
                self._failures.pop(image, None)
                return
            pause = min(failure.pause * 2, LONGEST_PAUSE) if failure else FIRST_PAUSE
            failure = self._failures[image] = _Failure(text, pause, now + pause)
        what = f"{self.name} can't pull image {image}: {failure.message}"
        remedy = f"build it or make it available to {self.name}, or give it a command in images.yaml"
        raise NotReadyError("ErrImagePull", f"{what}. Remedy: {remedy}.")

    async def _tell(self, *words: str) -> tuple[int, str]:
        """The engine's exit code, and what it said: its output, or the last line of its errors."""
        process = await asyncio.create_subprocess_exec(self._program, *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        said = output if process.returncode == 0 else b"".join(errors.strip().splitlines()[-1:])
        return process.returncode or 0, said.decode(errors="replace").strip()


def _mount(bind: Bind) -> str:
    """A mount's fields as CSV, in which a path may hold anything."""
    words = ["type=bind", f"src={bind.source}", f"dst={bind.target}", *(["ro"] if bind.read_only else [])]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()
