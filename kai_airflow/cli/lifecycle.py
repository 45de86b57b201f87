"""What the commands on a product's version have in common: which one is meant, and what the audit log is told."""

from __future__ import annotations

import getpass
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kai_airflow.cli import sites
from kai_airflow.cli.durations import seconds
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from kai_airflow.bridge.lifecycle.version import Version
    from kai_airflow.bridge.site import Site
    from kai_airflow.cli.workflows import Known
    from kai_airflow.plan import Workflow

LONGEST_COMMENT = 1000  # characters


def add_version(parser: argparse.ArgumentParser, description: str) -> None:
    """Declare which version of which product a command is for, and a comment on it."""
    sites.add_site(parser, description)
    parser.add_argument("product", metavar="PRODUCT", help="the product's name")
    parser.add_argument("--version", metavar="V", help="which one, where the product has several")
    parser.add_argument("--comment", metavar="TEXT", help="why; Airflow's audit log keeps it")


def add_timeout(parser: argparse.ArgumentParser, default: float) -> None:
    """Declare how long a command waits, in seconds."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=default, help=f"how long to wait ({default:g})"
    )


def workflows_of(known: Known, product: str, version: str | None, site: Site) -> list[Workflow]:
    """The workflows of a version: the one that is named, or the only one.

    :raises KaiAirflowError: no KRT has it, with those that there are; or there are several
    """
    from kai_airflow.bridge.lifecycle.status import by_product
    from kai_airflow.cli.products import chosen
    from kai_airflow.cli.workflows import of_product

    found = {of: listed for (_, of), listed in by_product(of_product(known, product, site)).items()}
    return found[chosen("version", version, list(found))]


def note(args: argparse.Namespace, site: Site) -> dict[str, str]:
    """What Airflow's audit log keeps beside the user of its API: the action, the comment, and who gave the command.

    :raises KaiAirflowError: the comment is too long
    """
    comment = args.comment or ""
    if len(comment) > LONGEST_COMMENT:
        raise KaiAirflowError(f"--comment: {len(comment)} characters. Remedy: write {LONGEST_COMMENT} at most.")
    who = getpass.getuser()
    return {
        "kai_action": args.action,
        **({"comment": comment} if comment else {}),
        **({"author": who} if who != site.airflow.user else {}),
    }


@asynccontextmanager
async def version(args: argparse.Namespace, site: Site) -> AsyncIterator[Version]:
    """The version that is meant, with Airflow and Kubernetes at hand. Raises KaiAirflowError."""
    from kai_airflow.bridge.client import reaching
    from kai_airflow.bridge.cluster.client import reaching as reaching_cluster
    from kai_airflow.bridge.lifecycle.version import Version
    from kai_airflow.cli.workflows import known

    workflows = workflows_of(await known(site), args.product, args.version, site)
    async with reaching(site.airflow) as airflow, reaching_cluster(site.cluster) as cluster:
        yield Version(workflows, airflow, cluster, site)
