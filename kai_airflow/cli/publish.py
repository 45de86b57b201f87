"""``kai-airflow publish``: a version's triggers can be reached from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.cli import lifecycle, sites
from kai_airflow.cli.terminal import print_line, tell

if TYPE_CHECKING:
    import argparse

    from kai_airflow.kube import Published

SUMMARY = "publish a started product: its triggers get URLs"
DESCRIPTION = """\
Make the Ingress of a product, by which people reach its triggers that have networking, and print a line for each: its
workflow and process, and its URL. A product has one published version: --force takes the place of another one.
Publishing what is published is fine.

Exit codes: 0 published, 2 it can't be.

  kai-airflow publish shop --version v2.0.0 --force
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    lifecycle.add_version(parser, DESCRIPTION)
    parser.add_argument("--force", action="store_true", help="take the place of another version that is published")
    parser.set_defaults(action="publish")


def run(args: argparse.Namespace) -> int:
    """Publish: 0 when it is published."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    site = await sites.site(args)
    note = lifecycle.note(args, site)
    async with lifecycle.version(args, site) as version:
        _show(await version.publish(note, force=args.force))
    return 0


def _show(shown: tuple[Published, ...]) -> None:
    for one in shown:
        print_line(f"{one.workflow} {one.process} {one.url or '-'}")
    if any(one.url is None for one in shown):
        tell("the cluster doesn't say where it serves: see its Ingress controller, or set [kai_airflow] base_domain")
