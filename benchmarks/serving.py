"""The serving example, from the HTTP request to its answer, beside the same processes wired by hand with nats-py."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import aiohttp
import yaml
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from benchmarks import children
from benchmarks.errors import BenchmarkError
from benchmarks.feeding import nats_server
from benchmarks.figures import COUNT, MILLISECONDS, RATIO, Table
from kai_airflow import krt
from kai_airflow.demo.houses import valuing
from kai_airflow.kube.app_config import Wiring, app_config
from kai_airflow.local import ports
from kai_airflow.local.environment import basis
from kai_airflow.local.home import write_private
from kai_airflow.local.supervisor import Part, Supervisor
from kai_airflow.local.waiting import until
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.consumers import IN_HAND, ensure_inputs
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS
from kai_airflow.messaging.streams import ensure_buckets, ensure_live_stream
from kai_airflow.plan import compile_product, names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Process, Workflow

DAGS = Path(__file__).parents[1] / "dags"
CALLS = {1: 200, 10: 1000, 100: 2000}  # of a turn, by how many callers there are
TURNS = 4  # of each, alternating
WARM = 100  # calls before anything is measured
SOON = 60.0  # seconds for all processes to start
OURS, BY_HAND = "kai_airflow.process", "by hand"


@dataclass
class Side:
    """One of the two that are compared: where it is called, and how its calls went."""

    url: str
    seconds: list[float] = field(default_factory=list)  # of each call
    lasted: float = 0.0  # all turns

    def take(self, began: float, seconds: list[float]) -> None:
        """The calls of a turn."""
        self.lasted += time.perf_counter() - began
        self.seconds += seconds

    @property
    def figures(self) -> tuple[float, float, float]:
        """Calls in a second; the median and the 99th percentile in milliseconds."""
        return (
            len(self.seconds) / self.lasted,
            median(self.seconds) * 1000,
            quantiles(self.seconds, n=100)[98] * 1000,
        )


class Serving:
    """A nats-server and the processes of both sides on it, new each time."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            "A call of dags/house-prices, over HTTP",
            {
                "calls in a second": COUNT,
                "median": MILLISECONDS,
                "one of 100 takes longer than": MILLISECONDS,
                "rate beside by hand": RATIO,
                "that one's time beside by hand": RATIO,
            },
        )
        self._folder = folder / "serving"
        self._count = 0

    def prepare(self) -> None:
        """Nothing: what only the first calls cost is left out each time."""

    def measure(self) -> None:
        """With one caller, ten, and a hundred."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        asyncio.run(self._measure(folder))

    async def _measure(self, folder: Path) -> None:
        async with nats_server(folder) as nats, running(folder, nats) as urls:
            for callers, calls in CALLS.items():
                sides = [Side(url) for url in urls]
                for turn in range(TURNS):
                    for side in sides if turn % 2 == self._count % 2 else reversed(sides):
                        await take_turn(side, callers, calls)
                self._add(callers, *(side.figures for side in sides))

    def _add(self, callers: int, ours: tuple[float, float, float], hand: tuple[float, float, float]) -> None:
        who = f"{callers} caller{'s' if callers > 1 else ''}"
        for row, figures in ((OURS, ours), (BY_HAND, hand)):
            self.table.add(f"{who}, {row}", *figures, figures[0] / hand[0], figures[2] / hand[2])


async def take_turn(side: Side, callers: int, calls: int) -> None:
    """So many calls, shared by callers each of whom waits for its answer; connections are kept alive."""
    houses = houses_of(calls)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(call_all(side.url, session, houses_of(WARM // callers or 1)) for _ in range(callers)))
        began = time.perf_counter()
        seconds = await asyncio.gather(*(call_all(side.url, session, houses) for _ in range(callers)))
    side.take(began, [one for of_caller in seconds for one in of_caller])


def houses_of(count: int) -> Iterator[dict[str, int]]:
    """So many houses, each another one."""
    return (
        {"area": 20 + n % 900, "rooms": 1 + n % 9, "built": 1800 + n % 200, "distance": n % 50} for n in range(count)
    )


async def call_all(url: str, session: aiohttp.ClientSession, houses: Iterable[dict[str, int]]) -> list[float]:
    """Ask for one house after the other, of those that no other caller has taken; the seconds of each call."""
    seconds = []
    for house in houses:
        began = time.perf_counter()
        async with session.post(url, json=house) as answer:
            said = await answer.text()
        seconds.append(time.perf_counter() - began)
        if answer.status != 200:
            raise BenchmarkError(f"{url} answers {answer.status}: {said}")
    return seconds


@asynccontextmanager
async def running(folder: Path, nats: str) -> AsyncIterator[tuple[str, str]]:
    """Both sides; gives their URLs once they answer."""
    workflow = workflow_of(DAGS / "house-prices" / "krt.yaml")
    by_hand = names.Stream("by-hand")
    async with connect(nats, name="benchmarks") as connection, Supervisor(folder) as supervisor:
        await prepare(connection, workflow)
        await ensure_live_stream(connection, by_hand, [process.name for process in workflow.processes])
        await make_consumers(connection, by_hand, workflow)
        ours, hand = ports.free(2)
        for process in workflow.processes:
            await supervisor.start(part(folder, process, workflow, nats, ours))
            await supervisor.start(part_by_hand(process.name, nats, by_hand, hand))
        urls = f"http://{ports.HOST}:{ours}/price", f"http://{ports.HOST}:{hand}/price"
        for url in urls:
            await until(url, lambda url=url: answers(url), SOON)  # type: ignore[misc]
        yield urls


def workflow_of(file: Path) -> Workflow:
    """The one workflow of a KRT."""
    (workflow,) = compile_product(krt.load(file, Path("house-prices/krt.yaml")).require()).workflows
    return workflow


async def prepare(connection: Connection, workflow: Workflow) -> None:
    """Make what the bridge makes of a streaming workflow before its processes start."""
    await ensure_live_stream(connection, workflow.live_stream, [process.name for process in workflow.processes])
    for process in workflow.processes:
        buckets = process.buckets
        await ensure_buckets(connection.js, (buckets.shared, buckets.version, buckets.workflow, buckets.process))
        await ensure_inputs(connection, workflow.live_stream, process)


async def make_consumers(connection: Connection, stream: names.Stream, workflow: Workflow) -> None:
    """Those of the tasks and exits by hand, as the bridge makes its own."""
    for process in workflow.processes:
        for feed in process.feeds if process.type != "trigger" else ():
            subject = names.input_subject(stream, feed.text)
            consumer = names.consumer(subject, process.name)
            config = ConsumerConfig(
                durable_name=consumer,
                deliver_group=consumer,
                deliver_subject=f"_INBOX.{consumer}",
                deliver_policy=DeliverPolicy.NEW,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                max_ack_pending=IN_HAND,
                filter_subject=subject,
            )
            await connection.js.add_consumer(stream, config)


def part(folder: Path, process: Process, workflow: Workflow, nats: str, port: int) -> Part:
    """A process as its Deployment runs it: the image map's command, an app.yaml of its own."""
    if process.live is None:
        raise BenchmarkError(f"{workflow.dag_id} doesn't stream: {process.name} isn't a long-lived process")
    inputs = tuple(one.subject for one in process.live.inputs)
    wiring = Wiring(nats, workflow.live_stream, process.live.output, inputs)
    home = folder / process.name
    home.mkdir()
    write_private(home / "app.yaml", yaml.safe_dump(app_config(workflow, process, wiring, {})))
    _, *words = yaml.safe_load((DAGS / "images.yaml").read_text())[process.image]
    environment = {**basis(os.environ), "KAI_APP_CONFIG_PATH": str(home), "KAI_AIRFLOW_PORT_8080": str(port)}
    return Part(process.name, ("python", *words), environment, 1)


def part_by_hand(role: str, nats: str, stream: str, port: int) -> Part:
    """The same process by hand."""
    return Part(f"{role}-by-hand", children.command("serving.py", role, nats, stream, port), basis(os.environ), 1)


async def answers(url: str) -> bool:
    """Whether all processes behind a URL work, and answer what they should."""
    (house,) = houses_of(1)
    try:
        async with aiohttp.ClientSession() as session, session.post(url, json=house) as answer:
            return answer.status == 200 and await answer.json() == {"message": expected(house)}
    except aiohttp.ClientError:
        return False


def expected(house: dict[str, int]) -> str:
    """What a house is worth, as it is answered."""
    return f"{valuing.price(valuing.learned(), valuing.features(house))} EUR"
