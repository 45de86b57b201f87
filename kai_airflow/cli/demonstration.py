"""The demonstration: a stack of its own, one request to the example, its run, and the reply."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kai_airflow.bridge.sending import answers, send
from kai_airflow.bridge.survey import Survey
from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import foreground
from kai_airflow.cli.homes import DAGS, HOME
from kai_airflow.cli.outcome import TAIL, Changes, by_start, show_log, show_payload, table
from kai_airflow.cli.progress import reporter
from kai_airflow.cli.up import PORT, where
from kai_airflow.demo.event import push_event
from kai_airflow.errors import KaiAirflowError
from kai_airflow.local import ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.errors import StackError
from kai_airflow.local.stack import Stack
from kai_airflow.messaging.connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.bridge.sending import Answer, Sent
    from kai_airflow.plan import Workflow

DAG = "github-trainer.training-workflow"
TRIGGER = "github-trigger"
NAME = "kai-airflow demo"
SEED = 1  # of the push event
DAG_TIME = 60.0  # seconds until the DAG must be there
START_TIME = 60.0  # seconds until the bridge must have made a run of the message
REPLY_TIME = 60.0  # seconds until it must have sent the reply
RUN_TIME = 300.0  # seconds that the run may take


def demonstrate(*, keep: bool) -> int:
    """Run the example and show it. Returns 0 when every task succeeded and the reply came, else 1."""
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
        workflow = Survey([stack.dags]).look()[DAG]
        sent = asyncio.run(_sent(stack, workflow))
        console.print(f"\nmessage {sent.sequence} of {sent.stream}: a push event", highlight=False)
        run = api.wait_for_start(DAG, sent.run_id, START_TIME)
        console.print(f"run {run.run_id} of {DAG}", highlight=False)
        api.wait_for_run(run, RUN_TIME, Changes(console).show)
        tasks = by_start(api.tasks(run))
        manifests = {task.task_id: api.xcom(run, task.task_id, "manifest") for task in tasks}
        console.print(table(tasks, manifests))
        for task in tasks:
            if task.state == "failed":
                show_log(console, task, api.log(run, task.task_id, task.try_number)[-TAIL:])
    replies = asyncio.run(_replies(stack, workflow, sent))
    for reply in replies:
        show_payload(console, f"reply to {TRIGGER}:", reply.message.error if reply.failed else reply.payload)
    return all(task.state == "success" for task in tasks) and not any(reply.failed for reply in replies)


async def _sent(stack: Stack, workflow: Workflow) -> Sent:
    """Do what the trigger does with a webhook."""
    async with connect(stack.nats_url, name=NAME) as connection:
        return await send(connection, workflow, TRIGGER, push_event(SEED), str(uuid.uuid4()))


async def _replies(stack: Stack, workflow: Workflow, sent: Sent) -> list[Answer]:
    """What came back. Raises StackError where that is nothing."""
    replies: list[Answer] = []
    async with connect(stack.nats_url, name=NAME) as connection:
        with suppress(TimeoutError):
            async with asyncio.timeout(REPLY_TIME):
                replies = await answers(connection, workflow, sent)
    if not replies:
        raise StackError(
            f"no reply came to message {sent.sequence} of {sent.stream} within {REPLY_TIME:g} s of the run's end. "
            "Remedy: see the log of the bridge."
        )
    return replies


def _stay(stack: Stack) -> None:
    print(where(stack), flush=True)
    with suppress(KeyboardInterrupt):
        stack.wait()
