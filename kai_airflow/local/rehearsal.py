"""One run of one workflow on parts of its own: nats-server, the local Kubernetes API, and Airflow's ``dag.test``.

All of them live in a scratch folder, for the time of the run. What imports Airflow is a part like the others
(:mod:`kai_airflow.rehearsal`, which says what it tells); it is heard through a FIFO.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kai_airflow.local import airflow, cluster, nats, ports
from kai_airflow.local.airflow_api import Task
from kai_airflow.local.environment import basis
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, write_private
from kai_airflow.local.keeper import Keeper, Service
from kai_airflow.local.progress import reported
from kai_airflow.local.published import published
from kai_airflow.local.supervisor import Part, Supervisor
from kai_airflow.local.waiting import first, together, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from kai_airflow.local.keeper import Probe
    from kai_airflow.local.progress import Progress
    from kai_airflow.local.scratch import Scratch

NAME = "airflow"
SOON = 60.0  # seconds for what takes less than one on an idle machine
LONGEST = 64 << 20  # bytes that are told at once, far more than ever are
NATS, KUBERNETES, AIRFLOW = range(3)  # those of the highest rank are stopped first

# What differs from Airflow's defaults.
SETTINGS: dict[str, dict[str, str]] = {
    "core": {
        "load_examples": "False",
        # The default looks this machine's name up, for seconds where nobody knows it.
        "hostname_callable": "socket.gethostname",
        # Somebody waits at the terminal: the default is five minutes.
        "default_task_retry_delay": "1",
    },
    "logging": {
        "colored_console_log": "False",
        "callsite_parameters": "pathname",  # tells whose line it is
    },
}


@dataclass(frozen=True)
class Job:
    """What to run: a KRT's text, where it stands, one of its DAGs, the run's conf, whose messages are the result."""

    document: bytes
    path: str
    dag_id: str
    conf: Mapping[str, Any]
    exits: Sequence[str]


@dataclass(frozen=True)
class Result:
    """How a run ended: its tasks, their manifests, and the payloads that each exit has published."""

    run_id: str
    state: str
    tasks: Sequence[Task]
    manifests: Mapping[str, Any]
    published: Mapping[str, Sequence[Any]]


class Audience(Protocol):
    """Who hears of a run while it goes on."""

    def states(self, tasks: Sequence[Task]) -> None:
        """All tasks as they are now."""

    def lines(self, task_id: str, lines: Sequence[str]) -> None:
        """Lines of a task's log."""

    def error(self, task_id: str, lines: Sequence[str]) -> None:
        """Why a task failed; it may quote lines of its log."""


async def rehearse(job: Job, scratch: Scratch, images: Path, progress: Progress, audience: Audience) -> Result:
    """Run the job, with the commands of ``images`` for its images.

    :raises StackError: Airflow can't make a DAG of the workflow, or a part can't start or ended (PartEndedError)
    """
    home, ear = Home(scratch.path), _Ear(audience)
    home.make()
    nats_port, *doors = ports.free(3)
    async with (
        Supervisor(home.logs, keep=(scratch.lock,)) as supervisor,
        Keeper(supervisor, progress) as keeper,  # never settled: a part that ends, ends the run
    ):
        password = secrets.token_hex(16)
        stage = _Stage(
            supervisor, keeper, home, nats_port, cluster.Doors(*doors), password, basis(os.environ), progress
        )
        await first(stage.run(job, images, ear), keeper.death())
        return await _result(ear.last, job.exits, stage.nats_url)


async def _result(last: Mapping[str, Any] | None, exits: Sequence[str], nats_url: str) -> Result:
    if last is None:
        raise StackError(f"{NAME} has ended and hasn't told how the run did")
    manifests = last["manifests"]
    return Result(
        run_id=last["run_id"],
        state=last["state"],
        tasks=_tasks(last),
        manifests=manifests,
        published={name: await published(nats_url, manifests[name]) for name in exits if manifests[name]},
    )


class _Ear:
    """Hears what is told, and keeps the last of it."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self.last: Mapping[str, Any] | None = None

    def hear(self, line: bytes) -> None:
        said = json.loads(line)
        if "refused" in said:
            raise StackError(said["refused"])
        if "lines" in said:
            self._audience.lines(said["task_id"], said["lines"])
        if "error" in said:
            self._audience.error(said["task_id"], said["error"])
        if "tasks" in said:
            self._audience.states(_tasks(said))
        if "state" in said:
            self.last = said


def _tasks(said: Mapping[str, Any]) -> list[Task]:
    return [Task(**task) for task in said["tasks"]]


@dataclass(frozen=True)
class _Stage:
    """The parts of one run."""

    supervisor: Supervisor
    keeper: Keeper
    home: Home
    nats: int
    kubernetes: cluster.Doors
    password: str
    basis: Mapping[str, str]
    progress: Progress

    @property
    def nats_url(self) -> str:
        return nats.url(self.nats, self.password)

    async def run(self, job: Job, images: Path, ear: _Ear) -> None:
        try:
            await together(self._nats(), self._kubernetes(images))
            await self._airflow(job, ear)
        finally:
            self.progress.healthy()

    async def _nats(self) -> None:
        part = nats.part(self.home.nats, self.nats, self.password, self.basis, NATS)
        await self._begin(part, lambda: nats.answers(self.nats_url))

    async def _kubernetes(self, images: Path) -> None:
        part = cluster.part(self.home.kubernetes, self.kubernetes, images, self.basis, KUBERNETES)
        await self._begin(part, lambda: cluster.answers(self.home.kubeconfig))

    async def _begin(self, part: Part, well: Probe) -> None:
        with reported(self.progress, part.name):
            await self.keeper.start(Service(part, lambda _: well()))
            await until(part.name, well, SOON)

    async def _airflow(self, job: Job, ear: _Ear) -> None:
        self._hand_over(job)
        command = (sys.executable, "-P", "-m", "kai_airflow.rehearsal", str(self.home.path))
        # Nothing of it needs an orderly end: its database goes with the folder, its pods with the Kubernetes API.
        part = Part(NAME, command, self._environment(), AIRFLOW, stop_signal=signal.SIGKILL)
        async with _fifo(self.home.path / "events") as (told, no_more):

            async def live() -> None:
                await self.supervisor.run(part)
                no_more()

            await together(live(), self._listen(told, ear))

    async def _listen(self, told: asyncio.StreamReader, ear: _Ear) -> None:
        with reported(self.progress, NAME):  # ready when it tells something
            line = await told.readline()
        self.progress.healthy()
        while line:
            ear.hear(line)
            line = await told.readline()

    def _hand_over(self, job: Job) -> None:
        dags = self.home.path / "dags"
        dags.mkdir(mode=0o700)
        (dags / "krt.yaml").write_bytes(job.document)
        text = json.dumps({"path": job.path, "dag_id": job.dag_id, "conf": job.conf})
        write_private(self.home.path / "job.json", text)

    def _environment(self) -> dict[str, str]:
        bundle = {
            "name": "krt",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.home.path / "dags")},
        }
        own = {
            "database": {"sql_alchemy_conn": f"sqlite:///{self.home.airflow / 'airflow.db'}"},
            "dag_processor": {"dag_bundle_config_list": json.dumps([bundle])},
        }
        return {
            **self.basis,
            "AIRFLOW_HOME": str(self.home.airflow),
            **airflow.as_variables(SETTINGS),
            **airflow.as_variables(own),
            **airflow.connections(self.home, self.nats, self.password),
        }


@asynccontextmanager
async def _fifo(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
    """A FIFO's reader, and what to call when nobody will write any more: until then it doesn't end."""
    os.mkfifo(path, 0o600)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.fdopen(os.open(path, os.O_WRONLY), "wb")
    told = asyncio.StreamReader(limit=LONGEST)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(told), os.fdopen(reading, "rb", buffering=0)
    )
    with writing:
        try:
            yield told, writing.close
        finally:
            transport.close()
