"""``kai-airflow audit``: whether each message of a trigger is in one run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kai_airflow.cli import CANNOT, FOUND_WRONG, sites
from kai_airflow.cli.counting import Count
from kai_airflow.cli.durations import seconds
from kai_airflow.cli.terminal import DIM, GREEN, RED, painter, print_line, readable, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kai_airflow.bridge.runs.audit import Audit
    from kai_airflow.bridge.runs.inspection import Inspection
    from kai_airflow.bridge.site import Site
    from kai_airflow.cli.workflows import Known
    from kai_airflow.plan import Workflow

SUMMARY = "compare the messages of triggers with Airflow's runs"
POLL = 0.5  # seconds between looks: NATS tells nobody that a consumer is done
DESCRIPTION = """\
Compare the messages of triggers with Airflow's runs: each message must be in exactly one run, or be a dead letter, or
still wait. Runs that a person, a schedule or a replay started don't count.

What can't be known is said: runs whose messages have expired, messages older than the oldest run that Airflow knows,
runs of a stream that was deleted. Workflows that stream have no runs, and are left out.

Exit codes: 0 no difference, 1 a difference, 2 it can't be told.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    sites.add_site(parser, DESCRIPTION)
    parser.add_argument("dag_ids", metavar="DAG_ID", nargs="*", help="these DAGs only (all)")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="wait until nothing waits any more, so long at most",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object for each DAG, a line each")


def run(args: argparse.Namespace) -> int:
    """Audit: 0 where there is no difference."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.runs.inspection import Inspection
    from kai_airflow.cli.workflows import known
    from kai_airflow.messaging.connection import connect

    site = await sites.site(args)
    found = await known(site)
    chosen = _chosen(args, found, site)
    async with connect(site.nats, name="kai-airflow audit") as connection, reaching(site.airflow) as airflow:
        inspection = Inspection(connection, airflow)
        await _wait(args.wait, inspection, chosen)
        codes = [await _one(args, inspection, workflow) for workflow in chosen]
    if found.broken and not args.dag_ids:
        tell(f"{len(found.broken)} KRT file(s) with errors are left out: {', '.join(map(str, found.broken))}")
        return max(CANNOT, *codes)
    return max(codes)


def _chosen(args: argparse.Namespace, found: Known, site: Site) -> Sequence[Workflow]:
    from kai_airflow.cli.workflows import chosen, require_batch

    named = [chosen(found, dag_id, site) for dag_id in dict.fromkeys(args.dag_ids)]
    for workflow in named:
        require_batch(workflow, "audit")
    batch = [workflow for workflow in found.workflows.values() if workflow.mode == "batch"]
    if not named and not batch:
        raise KaiAirflowError("no KRT has a workflow whose messages start runs. Remedy: see --dags.")
    return named or sorted(batch, key=lambda workflow: workflow.dag_id)


async def _wait(most: float, inspection: Inspection, workflows: Sequence[Workflow]) -> None:
    import asyncio

    if not most:
        return
    count = Count("message(s) wait")
    try:
        async with asyncio.timeout(most):
            while waiting := sum([await inspection.waiting(workflow) for workflow in workflows]):
                count.at(waiting)
                await asyncio.sleep(POLL)
    except TimeoutError:
        tell(f"after {most:g} s there still are messages that wait")
    finally:
        count.over()


async def _one(args: argparse.Namespace, inspection: Inspection, workflow: Workflow) -> int:
    count = Count(f"run(s) of {workflow.dag_id}")
    try:
        audit = await inspection.audit(workflow, count.at)
    finally:
        count.over()
    if args.json:
        print_line(json.dumps(audit.as_dict()))
    else:
        _show(audit)
    return FOUND_WRONG if audit.differences else 0


def _show(audit: Audit) -> None:
    paint = painter()
    counts = {"in runs": audit.in_runs, "waiting": audit.waiting, "dead letters": audit.dead}
    counts |= {"dead letters dropped or redriven": audit.settled} if audit.settled else {}
    parts = ", ".join(f"{count} {what}" for what, count in counts.items())
    verdict = paint(RED, f"{len(audit.differences)} difference(s)") if audit.differences else paint(GREEN, "well")
    print_line(f"{audit.dag_id}: {verdict}: {audit.messages} message(s): {parts}")
    for difference in audit.differences:
        print_line(f"  {paint(RED, difference.kind)}: {readable(difference.text)}")
    for text in audit.unsure:
        print_line(f"  {paint(DIM, 'not known:')} {readable(text)}")
