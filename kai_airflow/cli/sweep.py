"""``kai-airflow sweep``: ends pods that no task waits for any more."""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from kai_airflow.bridge.sweep import Orphan
    from kai_airflow.kube import TaskName

SUMMARY = "end pods that no task waits for any more"
DESCRIPTION = """\
End pods that no task waits for any more.

A task ends its own pods. Pods are left behind where a worker was killed and the task has no next try, where a run was
deleted at such a moment, or where Kubernetes was out of reach. `kai-airflow up` sweeps by itself. On a cluster, run
this with --every as a Deployment, or without it as a CronJob.

Airflow is found by these variables: KAI_AIRFLOW_URL, KAI_AIRFLOW_USER, KAI_AIRFLOW_PASSWORD. The URL must be Airflow's
own [api] base_url: pods of other Airflows in the same cluster are left alone.
Kubernetes is the cluster that this runs in, or that of KUBECONFIG.
"""


class SweepError(KaiAirflowError):
    """The sweep can't ask Kubernetes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    import argparse

    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--namespace", metavar="NAME", help="look in this namespace only (all)")
    parser.add_argument("--every", metavar="SECONDS", type=float, help="go on until stopped (sweep once)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be ended, and end nothing")
    parser.add_argument("--json", action="store_true", help="a JSON object for each pod, a line each")


def run(args: argparse.Namespace) -> int:
    """Sweep; 0 when done, or when told to stop."""
    import asyncio
    import signal

    async def until_told() -> None:
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        while not told.is_set():
            try:
                await _sweep(args)
            except KaiAirflowError as error:
                print(f"kai-airflow: {error}", file=sys.stderr, flush=True)
            try:
                async with asyncio.timeout(args.every):
                    await told.wait()
            except TimeoutError:
                continue

    asyncio.run(_sweep(args) if args.every is None else until_told())
    return 0


async def _sweep(args: argparse.Namespace) -> None:
    import aiohttp
    from kubernetes_asyncio.client import ApiException

    from kai_airflow.bridge import sweep
    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.site import AirflowSite

    count = 0
    try:
        async with _kubernetes() as api, reaching(AirflowSite.of(os.environ)) as airflow:

            async def state(task: TaskName) -> str | None:
                return await airflow.state(task.dag_id, task.run_id, task.task_id)

            async for orphan in sweep.orphans(api, airflow.url, args.namespace, state):
                if not args.dry_run:
                    await sweep.end(api, orphan)
                _say(orphan, args)
                count += 1
    except (ApiException, aiohttp.ClientError, TimeoutError) as error:
        raise SweepError(f"Kubernetes: {error}. Remedy: see that it runs, and that pods may be listed.") from error
    if args.every is None and not args.json:
        print(f"{count} pod(s) {'to end' if args.dry_run else 'ended'}")


def _say(orphan: Orphan, args: argparse.Namespace) -> None:
    print(json.dumps(orphan.as_dict()) if args.json else str(orphan), flush=True)


@asynccontextmanager
async def _kubernetes() -> AsyncIterator[Any]:
    from kubernetes_asyncio import client, config

    configuration = client.Configuration()
    try:
        with warnings.catch_warnings(action="ignore"):  # that it tries the cluster's own; the error says it all
            await config.load_config(client_configuration=configuration)
    except config.ConfigException as error:
        reason = str(error).rstrip(".")
        raise SweepError(f"Kubernetes: {reason}. Remedy: set KUBECONFIG, or run this in the cluster.") from error
    async with client.ApiClient(configuration) as api_client:
        yield client.CoreV1Api(api_client)
