"""The demonstration: a stack of its own, one run of the example, what came of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import foreground
from kai_airflow.cli.homes import DAGS, HOME
from kai_airflow.cli.outcome import TAIL, Changes, by_start, show_log, show_published, table
from kai_airflow.cli.progress import reporter
from kai_airflow.cli.up import PORT, where
from kai_airflow.demo.event import push_event
from kai_airflow.errors import KaiAirflowError
from kai_airflow.local import ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.published import published
from kai_airflow.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG = "github-trainer.training-workflow"
EXIT = "exit"
SEED = 1  # of the push event
DAG_TIME = 60.0  # seconds until the DAG must be there
RUN_TIME = 300.0  # seconds that the run may take


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
        api.wait_for_run(run, RUN_TIME, Changes(console).show)
        tasks = by_start(api.tasks(run))
        manifests = {task.task_id: api.xcom(run, task.task_id, "manifest") for task in tasks}
        console.print(table(tasks, manifests))
        for task in tasks:
            if task.state == "failed":
                show_log(console, task, api.log(run, task.task_id, task.try_number)[-TAIL:])
    if manifests.get(EXIT):
        show_published(console, EXIT, asyncio.run(published(stack.nats_url, manifests[EXIT])))
    return all(task.state == "success" for task in tasks)


def _stay(stack: Stack) -> None:
    print(where(stack), flush=True)
    with suppress(KeyboardInterrupt):
        stack.wait()
