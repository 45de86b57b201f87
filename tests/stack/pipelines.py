"""A product whose one workflow turns one request into many, works on each, and ends with what came of it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_airflow.local.published import published
from tests.stack.krts import add_images, krt, process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

RUN_SECONDS = 240
PATIENCE = 90.0  # seconds for something to happen on a busy machine
COUNT = 100
RETRIES = "{retries: 3, retry_delay: 0}"


def command(name: str) -> list[str]:
    """One of the processes beside this file."""
    return [sys.executable, "-u", str(Path(__file__).with_name("processes.py")), name]


def add_processes(stack: Stack) -> None:
    """Have the stack know the images ``test/NAME``."""
    names = ("split", "work", "forward", "many", "grumble", "too_large")
    add_images(stack, {f"test/{name}": command(name) for name in names})


@dataclass
class Pipeline:
    """``start`` gives ``split`` a request, ``work`` gets many of it, ``exit`` what came of them.

    :param settings: the process's config, beside its ledger: a line for each request that it took in hand
    """

    stack: Stack
    api: AirflowApi
    product: str
    image: str = "test/work"
    settings: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    extension: str = RETRIES
    retries: str = RETRIES

    @property
    def dag_id(self) -> str:
        return f"{self.product}.work"

    @property
    def stream(self) -> str:
        return f"RUNS_{self.product}_work"

    @property
    def ledger(self) -> Path:
        return self.stack.dags.parent / f"{self.product}.ledger"

    def install(self) -> Pipeline:
        config = {"ledger": str(self.ledger), **self.settings}
        listed = ", ".join(f"{key}: {value!r}" for key, value in config.items())
        retries = f", x-airflow: {self.retries}"
        more = f", config: {{{listed}}}, x-airflow: {self.extension}{self.more}"
        text = krt(
            process("start", "trigger", "none", more=retries),
            process("split", "task", "test/split", "start", more=retries),
            process("mid", "task", self.image, "split", more=more),
            process("exit", "exit", "test/forward", "mid", more=retries),
        )
        folder = self.stack.dags / self.product
        folder.mkdir(exist_ok=True)
        (folder / "krt.yaml").write_text(text)
        return self

    def start(self, count: int = COUNT) -> Run:
        self.api.wait_for_dag(self.dag_id, PATIENCE)
        return self.api.start_run(self.dag_id, {"payload": {"count": count}})

    def end(self, run: Run, seconds: float = RUN_SECONDS) -> Run:
        return self.api.wait_for_run(run, seconds)

    def taken(self) -> list[int]:
        """The requests that the process took in hand, in their order."""
        return [int(line.split()[1]) for line in self._lines()]

    def lives(self) -> int:
        """How many processes worked."""
        return len({line.split()[0] for line in self._lines()})

    def at_work(self, requests: int) -> None:
        """Wait until the process has taken so many requests in hand."""
        until(lambda: len(self._lines()) >= requests)

    def results(self, run: Run, task: str = "exit") -> list[int]:
        """What a task published, sorted."""
        manifest = self.api.xcom(run, task, "manifest")
        found: list[Any] = asyncio.run(published(self.stack.nats_url, manifest)) if manifest else []
        return sorted(one["n"] for one in found)

    def states(self, run: Run) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.api.tasks(run)}

    def tries(self, run: Run, task: str = "mid") -> int:
        return next(one.try_number for one in self.api.tasks(run) if one.task_id == task)

    def log(self, run: Run, task: str = "mid", number: int = 1) -> str:
        return "\n".join(self.api.log(run, task, number))

    def assert_each_once(self, run: Run, count: int = COUNT) -> None:
        """Every good result is at the exit exactly once."""
        assert run.state == "success", self.api.tasks(run)
        assert Counter(self.results(run)) == Counter(2 * n for n in range(count))

    def _lines(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []


def until(happened: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Look until it has happened."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.02)
