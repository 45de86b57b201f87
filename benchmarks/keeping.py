"""What a bridge costs that keeps many long-lived processes, of which nothing changes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from benchmarks.errors import BenchmarkError
from benchmarks.feeding import nats_server
from benchmarks.figures import MEGABYTES, Table, Unit
from kai_airflow.bridge.cluster.client import DEPLOYMENTS, PODS, Kubernetes, reaching
from kai_airflow.bridge.site import AirflowSite, Cluster, Site
from kai_airflow.kube import live
from kai_airflow.local.cluster import answers
from kai_airflow.local.waiting import until
from kai_airflow.messaging.address import NatsAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKFLOWS, EACH = 100, 5
PROCESSES = WORKFLOWS * EACH
SECONDS = 60.0  # of doing nothing
QUIET = 20.0  # seconds before, in which what the beginning left behind is done
PATIENCE = 600.0
NAMESPACE = "default"
PERCENT = Unit("%", 2)
RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"
BRIDGE = (
    "import asyncio, logging, sys; logging.basicConfig(level=logging.INFO); "
    "logging.getLogger('httpx').setLevel(logging.WARNING); "
    "from kai_airflow.bridge import service; from kai_airflow.bridge.site import Site; "
    "asyncio.run(service.run(Site.from_json(sys.stdin.read())))"
)


class Keeping:
    """A bridge as a process of its own, nats-server, the local Kubernetes API, and an Airflow that has the DAGs.

    No image of the processes can be had, so none of them runs here: what they do is none of the bridge's work.
    """

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            f"The bridge with {PROCESSES} long-lived processes, nothing changing",
            {"of a core": PERCENT, "memory": MEGABYTES},
            at_most=1,
        )
        self._folder = folder / "keeping"

    def prepare(self) -> None:
        """Write the KRTs."""
        for number in range(WORKFLOWS):
            file = self._folder / "dags" / f"p{number:03}" / "krt.yaml"
            file.parent.mkdir(parents=True)
            file.write_text(_krt())

    def measure(self) -> None:
        """From the moment on in which all is there."""
        self.table.add("bridge", *asyncio.run(self._measured()))

    async def _measured(self) -> tuple[float, float]:
        folders = {name: self._folder / name for name in ("nats", "kubernetes")}
        for folder in folders.values():
            folder.mkdir()
        async with (
            nats_server(folders["nats"]) as nats,
            _airflow() as airflow,
            _kubernetes(folders["kubernetes"]) as cluster,
            reaching(cluster) as kubernetes,
        ):
            site = Site((self._folder / "dags",), NatsAddress(nats), AirflowSite(airflow, "u", "p"), cluster=cluster)
            async with _bridge(site, self._folder / "bridge.log") as pid:
                await _all_there(kubernetes, live.selector(live.site_label(airflow)))
                await asyncio.sleep(QUIET)
                before, began = _cpu(pid), time.monotonic()
                await asyncio.sleep(SECONDS)
                return 100 * (_cpu(pid) - before) / (time.monotonic() - began), _memory(pid)


async def _all_there(kubernetes: Kubernetes, selector: str) -> None:
    async def are_there() -> bool:
        counts = [len((await kubernetes.list(kind, NAMESPACE, selector)).items) for kind in (DEPLOYMENTS, PODS)]
        return min(counts) >= PROCESSES

    await until("the bridge", are_there, PATIENCE)


def _krt() -> str:
    task = f"type: task, image: nowhere, subscriptions: [start], {RESOURCES}"
    tasks = "\n".join(f"      - {{name: t{n}, {task}}}" for n in range(EACH - 2))
    return f"""\
version: v1.0.0
description: 'processes that stream'
workflows:
  - name: serve
    type: serving
    processes:
      - {{name: start, type: trigger, image: nowhere, {RESOURCES}}}
{tasks}
      - {{name: exit, type: exit, image: nowhere, subscriptions: [t0], {RESOURCES}}}
"""


@asynccontextmanager
async def _airflow() -> AsyncIterator[str]:
    """Answers what a bridge asks when nothing happens, with as much as Airflow says of a DAG."""
    filler = {f"field_{n}": "2026-01-01T00:00:00.000000Z" for n in range(30)}
    dags = [{"dag_id": f"p{n:03}.serve", "is_stale": False, "is_paused": False, **filler} for n in range(WORKFLOWS)]

    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "t"}, status=201)

    async def listed(request: web.Request) -> web.Response:
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        return web.json_response({"dags": dags[offset : offset + limit], "total_entries": WORKFLOWS})

    async def runs(_: web.Request) -> web.Response:
        return web.json_response({"dag_runs": [], "total_entries": 0})

    app = web.Application()
    app.router.add_post("/auth/token", token)
    app.router.add_get("/api/v2/dags", listed)
    app.router.add_get("/api/v2/dags/{dag_id}/dagRuns", runs)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _kubernetes(folder: Path) -> AsyncIterator[Cluster]:
    (folder / "images.yaml").write_text("{}")
    options = ("--home", str(folder), "--images", str(folder / "images.yaml"))
    cluster = Cluster(NAMESPACE, kubeconfig=str(folder / "kubeconfig"))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "kai_airflow.local.kubernetes", *options)
    try:
        await until("the local Kubernetes API", partial(answers, Path(cluster.kubeconfig)), PATIENCE)
        yield cluster
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _bridge(site: Site, log: Path) -> AsyncIterator[int]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", BRIDGE), stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output
        )
    if process.stdin is None:
        raise BenchmarkError("the bridge can't be started")
    process.stdin.write(site.to_json().encode())
    process.stdin.close()
    try:
        yield process.pid
        if process.returncode is not None:
            raise BenchmarkError(f"the bridge ended with exit code {process.returncode}: see {log}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _cpu(pid: int) -> float:
    """Seconds of a core that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """MB that a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
