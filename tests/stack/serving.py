"""A product that serves, on a stack, and callers of it: every call gets one answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import kubernetes.client
import kubernetes.config

from tests.stack.krts import krt, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.local.stack import Stack

SOON = 60.0  # seconds
TIMEOUT = 30  # seconds that the trigger waits for an answer
TRIGGER = "registry.kai.local/houses_rest-trigger:v1"
PROCESSES = Path(__file__).with_name("processes.py")


def program(name: str, *arguments: str) -> list[str]:
    """The command of a process of processes.py."""
    return [sys.executable, str(PROCESSES), name, *arguments]


@dataclass(frozen=True)
class Call:
    """One call: its number, the status that came (0: none), what it said, and how long it took."""

    number: int
    status: int
    said: Any
    seconds: float


@dataclass
class Serving:
    """A product of one workflow that serves: a REST trigger, a task that takes its time, an exit that says by whom.

    Its task's image is ``{product}/work:{version}``, so that each version may be another program.
    """

    stack: Stack
    product: str
    version: str = "v1.0.0"
    replicas: int = 1
    mark: str = "old"

    @property
    def dag_id(self) -> str:
        return f"{self.product}.work"

    @property
    def text(self) -> str:
        net = "networking: {targetPort: 8080, destinationPort: 8080}"
        config = f"config: {{path: /, timeout: '{TIMEOUT}'}}"
        listed = krt(
            process("rest", "trigger", TRIGGER, "exit", more=f", {net}, {config}"),
            process("work", "task", "test/mark", "rest", more=f", replicas: {self.replicas}, {self._mark}"),
            process("exit", "exit", "test/answer", "work"),
            more=f"x-airflow: {{product: {self.product}}}",
        )
        return listed.replace("type: training", "type: serving", 1).replace("v1.0.0", self.version, 1)

    @property
    def _mark(self) -> str:
        return f"config: {{mark: {self.mark}}}"

    def install(self) -> Serving:
        folder = self.stack.dags / self.product
        folder.mkdir(exist_ok=True)
        (folder / "krt.yaml").write_text(self.text)
        return self

    def remove(self) -> None:
        (self.stack.dags / self.product / "krt.yaml").unlink()

    def deployment(self, name: str) -> str:
        return f"{self.product}-{self.version.replace('.', '-')}-work-{name}"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        home = ("--home", str(self.stack.home.path))
        return subprocess.run(
            [sys.executable, "-m", "kai_airflow.cli", *words, *home],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self) -> str:
        """Start and publish it; gives its URL."""
        deadline = time.monotonic() + SOON
        while (ran := self.command("start", self.product)).returncode:
            assert time.monotonic() < deadline, ran.stderr
            time.sleep(0.5)
        ran = self.command("publish", self.product)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()[-1]

    def status(self) -> dict[str, Any]:
        ran = self.command("status", self.product, "--json")
        assert ran.stdout, ran.stderr
        return dict(json.loads(ran.stdout.splitlines()[0]))


@dataclass
class Callers:
    """So many callers, each of whom calls again as soon as it has an answer, until they are told to stop."""

    url: str
    count: int = 10
    calls: list[Call] = field(default_factory=list)
    _stop: bool = False
    _number: int = 0

    @contextmanager
    def at_work(self) -> Iterator[Callers]:
        """Call while the block lasts; it is left when each call has ended."""
        with ThreadPoolExecutor(1, "callers") as thread:
            calling = thread.submit(asyncio.run, self._work())
            try:
                yield self
            finally:
                self._stop = True
            calling.result()

    def more(self, count: int, *, good: bool = True) -> None:
        """Wait until so many more calls have ended, or have ended well."""
        before = len(self.good if good else self.calls)
        deadline = time.monotonic() + SOON
        while len(self.good if good else self.calls) < before + count:
            assert time.monotonic() < deadline, f"calls have ended with {self.statuses}: {self.calls[-3:]}"
            time.sleep(0.05)

    @property
    def good(self) -> list[Call]:
        return [call for call in list(self.calls) if call.status == 200]

    @property
    def statuses(self) -> dict[int, int]:
        return Counter(call.status for call in list(self.calls))

    def assert_answered(self, *others: int) -> None:
        """Each call has had its own answer, or one of these statuses."""
        assert set(self.statuses) <= {200, *others}, (self.statuses, [c for c in self.calls if c.status != 200][:5])
        assert [c for c in self.good if c.said["number"] != c.number] == []

    async def _work(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._caller(session) for _ in range(self.count)))

    async def _caller(self, session: aiohttp.ClientSession) -> None:
        while not self._stop:
            self._number += 1
            call = await self._call(session, self._number)
            self.calls.append(call)
            if not call.status:
                await asyncio.sleep(0.1)  # nobody listens now

    async def _call(self, session: aiohttp.ClientSession, number: int) -> Call:
        began = time.monotonic()
        try:
            async with session.post(
                self.url, json={"number": number}, timeout=aiohttp.ClientTimeout(total=2 * TIMEOUT)
            ) as answer:
                text = await answer.text()
                said = json.loads(json.loads(text)["message"]) if answer.status == 200 else text
                return Call(number, answer.status, said, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Call(number, 0, repr(error), time.monotonic() - began)


class Cluster:
    """The stack's Kubernetes, as a person with kubectl has it."""

    def __init__(self, stack: Stack) -> None:
        client = kubernetes.config.new_client_from_config(str(stack.kubeconfig))
        self.apps, self.core = kubernetes.client.AppsV1Api(client), kubernetes.client.CoreV1Api(client)

    def deployments(self, product: str) -> list[str]:
        found = self.apps.list_namespaced_deployment("default", label_selector=f"product={product}").items
        return sorted(one.metadata.name for one in found)

    def pods(self, product: str, process: str) -> list[Any]:
        selector = f"product={product},process={process}"
        return list(self.core.list_namespaced_pod("default", label_selector=selector).items)

    def is_ready(self, name: str) -> bool:
        try:
            status = self.apps.read_namespaced_deployment(name, "default").status
        except kubernetes.client.ApiException:
            return False
        return bool(status.ready_replicas and status.ready_replicas == status.replicas)
