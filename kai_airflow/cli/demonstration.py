"""A demonstration: a stack of its own, a product that is started and published there, and what is shown of it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kai_airflow.bridge import client
from kai_airflow.bridge.cluster import client as cluster
from kai_airflow.bridge.lifecycle.publishing import publish
from kai_airflow.bridge.lifecycle.version import Version
from kai_airflow.bridge.site import Site
from kai_airflow.bridge.survey import Survey
from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import foreground
from kai_airflow.cli.homes import DAGS, HOME
from kai_airflow.cli.progress import reporter
from kai_airflow.cli.up import PORT, where
from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.live import site_label
from kai_airflow.local import ports
from kai_airflow.local.airflow_api import AirflowApi
from kai_airflow.local.errors import StackError
from kai_airflow.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kai_airflow.plan import Workflow

    Show = Callable[[Stack, Console], bool]

NAME = "kai-airflow demo"
DAG_TIME = 60.0  # seconds until a DAG must be there


def demonstrate(show: Show, *, keep: bool) -> int:
    """Show an example on a stack of its own. Returns 0 when all went well, else 1."""
    console = Console()
    port = PORT if ports.is_free(PORT) else ports.free(1)[0]
    with foreground(), fresh_home(console) as home, Stack(DAGS, home.path, port, reporter(console)) as stack:
        well = show(stack, console)
        home.kept = keep or not well
        if keep:
            _stay(stack)
    return 0 if well else FOUND_WRONG


def wait_for(stack: Stack, dag_id: str) -> Workflow:
    """A workflow of the stack, once Airflow has its DAG. Raises StackError where that takes too long."""
    with AirflowApi(stack.url, stack.user, stack.password) as api:
        api.wait_for_dag(dag_id, DAG_TIME)
    return Survey([stack.dags]).look()[dag_id]


async def published(stack: Stack, workflow: Workflow, trigger: str) -> str:
    """Start and publish a workflow's product, as the commands ``start`` and ``publish`` do; gives a trigger's URL.

    :raises KaiAirflowError: a process can't start, or the trigger gets no URL
    """
    site = Site.from_json(stack.home.site.read_bytes())
    workflows = [one for one in Survey(site.folders).look().values() if one.product == workflow.product]
    async with client.reaching(site.airflow) as airflow, cluster.reaching(site.cluster) as kubernetes:
        version = Version(workflows, airflow, kubernetes, site)
        await version.start({"kai_action": "start", "comment": NAME}, lambda _: None)
        label = site_label(site.airflow.url)
        shown = await publish(kubernetes, workflows, label, version.namespace, site.settings.publishing)
    for one in shown:
        if (one.workflow, one.process) == (workflow.name, trigger) and one.url:
            return one.url
    raise StackError(f"{workflow.product}: {trigger} has no URL. Remedy: see the log of the local Kubernetes API.")


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


def _stay(stack: Stack) -> None:
    print(where(stack), flush=True)
    with suppress(KeyboardInterrupt):
        stack.wait()
