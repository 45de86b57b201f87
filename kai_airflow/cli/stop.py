"""``kai-airflow stop``: a product's DAGs are paused, and its processes end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.cli import lifecycle, sites
from kai_airflow.cli.counting import Count
from kai_airflow.cli.terminal import print_line
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse

    from kai_airflow.bridge.lifecycle.status import ProductStatus

SUMMARY = "stop a product: pause its DAGs, and wait until its processes have ended"
TIMEOUT = 120.0  # seconds
DESCRIPTION = """\
Pause the DAGs of a product's version, and wait until none of its long-lived processes is there any more. Runs that have
begun go on to their end; messages that come meanwhile wait. Stopping what is stopped is fine; what is published must
be unpublished first.

Exit codes: 0 stopped, 2 it can't be, or isn't yet; 130 interrupted: the stopping goes on.

  kai-airflow stop shop --comment 'closed for the night'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    lifecycle.add_version(parser, DESCRIPTION)
    lifecycle.add_timeout(parser, TIMEOUT)
    parser.set_defaults(action="stop")


def run(args: argparse.Namespace) -> int:
    """Stop: 0 when it is stopped."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    import asyncio

    site = await sites.site(args)
    note = lifecycle.note(args, site)
    count = Count("process(es) have still to end")

    def seen(status: ProductStatus) -> None:
        count.at(sum(one.state == "STOPPING" for workflow in status.workflows for one in workflow.processes))

    async with lifecycle.version(args, site) as version:
        try:
            async with asyncio.timeout(args.timeout):
                status = await version.stop(note, seen)
        except TimeoutError as error:
            raise KaiAirflowError(
                f"{args.product} isn't stopped within {args.timeout:g} s. Remedy: see that `kai-airflow bridge` runs, "
                "and `kai-airflow status`; or wait longer with --timeout."
            ) from error
        finally:
            count.over()
    print_line(f"{status.product} {status.version}: {status.state}")
    return 0
