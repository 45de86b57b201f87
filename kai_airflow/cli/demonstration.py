"""The demonstration: a stack of its own, one run of the example, what came of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import foreground
from kai_airflow.cli.homes import HOME
from kai_airflow.cli.progress import reporter
from kai_airflow.cli.up import DAGS, PORT, where
from kai_airflow.demo.event import push_event
from kai_airflow.errors import KaiAirflowError
from kai_airflow.local import ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.stack import Stack
from kai_airflow.messaging.codec import decode, unpack
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.tries import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.local.airflow_api import Run, Task

DAG = "github-trainer.training-workflow"
EXIT = "exit"
SEED = 1  # of the push event
DAG_TIME = 60.0  # seconds until the DAG must be there
RUN_TIME = 300.0  # seconds that the run may take
TAIL = 20  # lines of a failed task's log
COLOURS = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "magenta", "running": "cyan"}


def demonstrate(*, keep: bool) -> int:
    """Run the example and show it. Returns 0 when every task succeeded, else 1."""
    console = Console()
    port = PORT if ports.is_free(PORT) else ports.free(1)[0]
    with foreground(), fresh_home(console) as home, Stack(DAGS, home.path, port, reporter(console)) as stack:
        well = _demonstrated(stack, console)
        home.kept = keep or not well
        if keep:
            _stay(stack)
    return 0 if well else FOUND_WRONG


@dataclass
class DemoHome:
    """A home for one demonstration."""

    path: Path
    kept: bool = False


@contextmanager
def fresh_home(console: Console) -> Iterator[DemoHome]:
    """A folder of its own, so that several can run; removed in the end unless it is kept, or tells of an error."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    home = DemoHome(Path(tempfile.mkdtemp(prefix="demo-", dir=HOME)))
    try:
        yield home
    except KaiAirflowError:
        home.kept = any(home.path.glob("logs/*.log"))
        raise
    finally:
        if home.kept:
            console.print(
                f"logs are kept in {home.path / 'logs'} and {home.path / 'airflow' / 'logs'}",
                style="dim",
                soft_wrap=True,
            )
        else:
            shutil.rmtree(home.path)
            with suppress(OSError):  # something else is in it
                HOME.rmdir()


def _demonstrated(stack: Stack, console: Console) -> bool:
    with AirflowApi(stack.url, stack.user, stack.password) as api:
        api.wait_for_dag(DAG, DAG_TIME)
        run = api.start_run(DAG, {"payload": push_event(SEED)})
        console.print(f"\nrun {run.run_id} of {DAG}", highlight=False)
        api.wait_for_run(run, RUN_TIME, _Changes(console).show)
        tasks = sorted(api.tasks(run), key=lambda task: (task.start is None, task.start))
        manifests = {task.task_id: api.xcom(run, task.task_id, "manifest") for task in tasks}
        console.print(table(tasks, manifests))
        for task in tasks:
            if task.state == "failed":
                _show_log(api, run, task, console)
    if manifests.get(EXIT):
        for result in asyncio.run(published(stack.nats_url, manifests[EXIT])):
            console.print(f"published by {EXIT}:")
            console.print_json(data=result, sort_keys=True)
    return all(task.state == "success" for task in tasks)


class _Changes:
    """Prints each change of a task's state, once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str | None] = {}

    def show(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task.state is not None and self._states.get(task.task_id) != task.state:
                self._states[task.task_id] = task.state
                self._console.print(f"  {task.task_id:<16} {_coloured(task.state)}", highlight=False)


def table(tasks: list[Task], manifests: Mapping[str, Any]) -> Table:
    """A line for each process: its state, seconds, and the messages that it got and published."""
    shown = Table("process", "state")
    for heading in ("duration", "messages in", "messages out"):
        shown.add_column(heading, justify="right")
    for task in tasks:
        duration = "-" if task.duration is None else f"{task.duration:.1f} s"
        shown.add_row(task.task_id, _coloured(task.state), duration, *_counts(manifests.get(task.task_id)))
    return shown


def _counts(manifest: Mapping[str, Any] | None) -> tuple[str, str]:
    if manifest is None:
        return "-", "-"
    return str(manifest["fed"]), str(sum(channel["count"] for channel in manifest["channels"].values()))


def _coloured(state: str | None) -> str:
    colour = COLOURS.get(state or "", "default")
    return f"[{colour}]{state or 'none'}[/]"


def _show_log(api: AirflowApi, run: Run, task: Task, console: Console) -> None:
    console.print(f"\nlast lines of {task.task_id}:", style="red")
    for line in api.log(run, task.task_id, task.try_number)[-TAIL:]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


async def published(nats_url: str, manifest: Mapping[str, Any]) -> list[Any]:
    """The payloads of the messages that a task published. Raises MessagingError where they can't be read."""
    left = Manifest.from_json(manifest)
    async with connect(nats_url, name="kai-airflow demo") as connection:
        with translated(f"read from stream {left.stream}"):
            messages = [await connection.js.get_msg(left.stream, sequence) for sequence in left.sequences]
    return [unpack(decode(message.data or b"").payload) for message in messages]


def _stay(stack: Stack) -> None:
    print(where(stack), flush=True)
    with suppress(KeyboardInterrupt):
        stack.wait()
