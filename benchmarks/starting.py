"""How soon a product that serves answers once its DAG is unpaused: Deployments, processes, consumers, Ingress."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.errors import BenchmarkError
from benchmarks.figures import SECONDS, Table
from benchmarks.site import SOON
from kai_airflow.bridge import client
from kai_airflow.bridge.cluster import client as cluster
from kai_airflow.bridge.lifecycle.publishing import publish, unpublish
from kai_airflow.bridge.lifecycle.version import Version
from kai_airflow.bridge.site import Site as Everything
from kai_airflow.bridge.survey import Survey
from kai_airflow.kube.live import site_label

if TYPE_CHECKING:
    from benchmarks.site import Site

DAG = "house-prices.valuation"
HOUSE = {"area": 80, "rooms": 3, "built": 1990, "distance": 5}
POLL = 0.02  # seconds between two calls
ACTION = {"kai_action": "benchmark"}


class Starting:
    """Stops ``dags/house-prices``, unpauses its DAG, and calls it until it answers."""

    def __init__(self, site: Site) -> None:
        self.table = Table("From unpaused to the first answer over HTTP", {"seconds": SECONDS})
        self._site = site

    def prepare(self) -> None:
        """Wait until Airflow has the DAG."""
        self._site.api.wait_for_dag(DAG, SOON)

    def measure(self) -> None:
        """One start of all of its processes."""
        self.table.add("dags/house-prices", asyncio.run(self._measured()))

    async def _measured(self) -> float:
        stack = self._site.stack
        where = Everything.from_json(stack.home.site.read_bytes())
        workflow = Survey(where.folders).look()[DAG]
        label, how = site_label(where.airflow.url), where.settings.publishing
        async with client.reaching(where.airflow) as airflow, cluster.reaching(where.cluster) as kubernetes:
            version = Version([workflow], airflow, kubernetes, where)
            await version.start(ACTION, lambda _: None)
            (shown,) = await publish(kubernetes, [workflow], label, version.namespace, how)
            await unpublish(kubernetes, workflow.product, label, version.namespace)
            await version.stop(ACTION, lambda _: None)
            # Published at once, so that what is measured doesn't hold the time of two commands.
            await publish(kubernetes, [workflow], label, version.namespace, how)
            began = time.perf_counter()
            await asyncio.to_thread(self._site.api.pause, DAG, paused=False)
            return await _answered(f"{shown.url}/price") - began


async def _answered(url: str) -> float:
    """When the first good answer came."""
    deadline = time.perf_counter() + SOON
    async with aiohttp.ClientSession() as session:
        while time.perf_counter() < deadline:
            try:
                async with session.post(url, json=HOUSE) as answer:
                    if answer.status == 200:
                        return time.perf_counter()
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL)
    raise BenchmarkError(f"{url} doesn't answer within {SOON:g} s")
