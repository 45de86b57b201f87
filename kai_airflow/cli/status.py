"""``kai-airflow status``: what products are doing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from kai_airflow.cli import CANNOT, FOUND_WRONG, sites
from kai_airflow.cli.terminal import CYAN, DIM, GREEN, RED, YELLOW, painter, print_line, readable, table, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Mapping, Sequence

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.lifecycle.status import Objects, ProductStatus, State, WorkflowStatus
    from kai_airflow.bridge.site import Site
    from kai_airflow.cli.workflows import Known
    from kai_airflow.plan import Workflow

SUMMARY = "what products are doing"
DESCRIPTION = """\
Show the state of each product, its workflows and its long-lived processes, as it is now:

  CREATED    never started, as far as Airflow's audit log knows: all its DAGs are paused
  STARTING   its DAGs are unpaused, and a process isn't ready yet
  STARTED    its DAGs are unpaused, and each process has a pod that is ready
  PUBLISHED  the same, and people reach its triggers
  STOPPING   its DAGs are paused, and pods are still there
  STOPPED    its DAGs are paused, and no process is there
  ERROR      a process can't start, or its file is broken, with the cause
  unknown    Kubernetes doesn't tell

Exit codes: 0 told, 1 a product has an error, 2 it can't all be told.
"""
T = TypeVar("T")
COLOURS: Mapping[State | None, str] = {
    **dict.fromkeys(("STARTED", "PUBLISHED"), GREEN),
    **dict.fromkeys(("STARTING", "STOPPING"), YELLOW),
    **dict.fromkeys(("CREATED", "STOPPED"), DIM),
    "ERROR": RED,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)
    parser.add_argument("product", metavar="PRODUCT", nargs="?", help="this one only (all)")
    parser.add_argument("--version", metavar="V", help="this version of it only (all)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each version, a line each")


def run(args: argparse.Namespace) -> int:
    """Tell: 0 where nothing has an error."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.lifecycle.status import by_product, product_status
    from kai_airflow.bridge.lifecycle.version import facts
    from kai_airflow.cli.workflows import known

    site = await sites.site(args)
    found = await known(site)
    async with reaching(site.airflow) as airflow:
        unread = await _unread(airflow, args, found)
        chosen = _chosen(args, found, site, unread)
        objects, waiting = await _told(_objects(site, chosen)), await _told(_waiting(site, chosen))
        gathered = await facts(airflow, chosen, objects, waiting or {})
    listed = [product_status(workflows, gathered) for workflows in by_product(chosen).values()] + unread
    for status in listed:
        _show(args, status)
    if objects is None or waiting is None or (found.broken and not args.product):
        return CANNOT
    return FOUND_WRONG if any(one.state == "ERROR" for one in listed) else 0


async def _unread(airflow: Airflow, args: argparse.Namespace, found: Known) -> list[ProductStatus]:
    """What Airflow knows of the products of files with errors, which are there as they were before."""
    from kai_airflow.bridge.lifecycle.outlines import outline, outlined
    from kai_airflow.bridge.lifecycle.version import TAG, was_paused

    if not found.broken:
        return []
    dags = await airflow.broken(f"product:{args.product}" if args.product else TAG)
    why = "its KRT file has errors: kai-airflow validate"
    return outlined(
        [
            (dag, outline(dag_id, dag, f"{why} {file}", touched=await was_paused(airflow, dag_id)))
            for dag_id, dag in dags.items()
            for file in found.broken
            if dag_id not in found.workflows and dag.is_of([file]) and args.version in (None, dag.tags.get("version"))
        ]
    )


async def _told(asked: Awaitable[T]) -> T | None:
    """What somebody says; None where he can't, which is told."""
    try:
        return await asked
    except KaiAirflowError as error:
        tell(f"not all can be told: {error}")
        return None


def _chosen(args: argparse.Namespace, found: Known, site: Site, unread: Sequence[ProductStatus]) -> Sequence[Workflow]:
    from kai_airflow.cli.lifecycle import workflows_of
    from kai_airflow.cli.workflows import of_product

    if args.version and not args.product:
        raise KaiAirflowError("--version is of one product. Remedy: name the product, too.")
    there = (args.product in (None, one.product) for one in found.workflows.values())
    if unread and not any(there):
        return []
    if args.version:
        return workflows_of(found, args.product, args.version, site)
    if args.product:
        return of_product(found, args.product, site)
    if not found.workflows:
        raise KaiAirflowError("there is no KRT file without errors. Remedy: see --dags.")
    return list(found.workflows.values())


async def _objects(site: Site, workflows: Sequence[Workflow]) -> Objects:
    from kai_airflow.bridge.cluster.client import reaching
    from kai_airflow.bridge.lifecycle.version import objects

    async with reaching(site.cluster) as cluster:
        return await objects(cluster, workflows, site)


async def _waiting(site: Site, workflows: Sequence[Workflow]) -> dict[str, int]:
    from kai_airflow.bridge.lifecycle.waiting import waiting
    from kai_airflow.messaging.connection import connect

    async with connect(site.nats, name="kai-airflow status") as connection:
        return {workflow.dag_id: await waiting(connection, workflow) for workflow in workflows}


def _show(args: argparse.Namespace, status: ProductStatus) -> None:
    if args.json:
        print_line(json.dumps(status.as_dict()))
        return
    paint = painter()
    why = f": {readable(status.own_cause)}" if status.own_cause else ""
    print_line(f"{status.product} {status.version}: {paint(COLOURS.get(status.state, CYAN), _said(status.state))}{why}")
    rows = [row for workflow in status.workflows for row in _rows(workflow)]
    head, *lines = table(("", "type", "state", "ready", "waiting"), [cells for cells, _ in rows])
    print_line(f"  {paint(DIM, head)}")
    for line, (_, cause) in zip(lines, rows, strict=True):
        print_line(f"  {readable(line)}".rstrip())
        for text in cause.splitlines():
            print_line(f"      {readable(text)}")
    for one in status.published:
        url = one.url or "published, at an address that the cluster does not tell"
        print_line(f"  {one.workflow} {one.process}: {url}")


def _rows(workflow: WorkflowStatus) -> list[tuple[tuple[str, ...], str]]:
    """Lines of the table, and the causes below them."""
    waiting = "-" if workflow.waiting is None else str(workflow.waiting)
    live = [one for one in workflow.processes if one.lives]
    return [
        ((workflow.name, workflow.type, _said(workflow.state), "", waiting), workflow.own_cause),
        *(((f"  {p.name}", p.type, _said(p.state), f"{p.ready}/{p.wanted}", ""), p.cause) for p in live),
    ]


def _said(state: State | None) -> str:
    return state or "unknown"
