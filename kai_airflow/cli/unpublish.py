"""``kai-airflow unpublish``: a product's triggers can't be reached from outside any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.cli import lifecycle, sites
from kai_airflow.cli.terminal import print_line

if TYPE_CHECKING:
    import argparse

SUMMARY = "unpublish a product: its triggers lose their URLs"
DESCRIPTION = """\
Delete the Ingress of a product: nobody reaches its triggers any more; its processes go on. With --version only where
that one is published. Unpublishing what isn't published is fine.

Exit codes: 0 unpublished, 2 it can't be.

  kai-airflow unpublish shop
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    lifecycle.add_version(parser, DESCRIPTION)
    parser.set_defaults(action="unpublish")


def run(args: argparse.Namespace) -> int:
    """Unpublish: 0 when it is unpublished."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.cluster.client import reaching as reaching_cluster
    from kai_airflow.bridge.lifecycle.publishing import unpublish
    from kai_airflow.cli.workflows import known, of_product
    from kai_airflow.kube.live import site_label

    site = await sites.site(args)
    note = lifecycle.note(args, site)
    # Any of its workflows tells where it lives; the version that is published may have no KRT any more.
    workflow = of_product(await known(site), args.product, site)[0]
    where = workflow.namespace or site.cluster.namespace
    async with reaching(site.airflow) as airflow, reaching_cluster(site.cluster) as cluster:
        gone = await unpublish(cluster, args.product, site_label(site.airflow.url), where, args.version)
        if gone is not None:
            await airflow.record(workflow.dag_id, note)
    kept = f"{args.product} {args.version} isn't published" if args.version else f"{args.product}: nothing is published"
    print_line(f"{args.product} {gone}: unpublished" if gone else kept)
    return 0
