"""Where a command finds KRT files, NATS and Airflow: a stack of this machine, or what Airflow is configured to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.cli.homes import HOME

if TYPE_CHECKING:
    from kai_airflow.bridge.site import Site

WHERE = """
Where things are: those of the stack of --home, or of ./.kai-airflow if one runs there. Otherwise this must run where
Airflow is configured: its bundles name the KRT files, its connection nats_default is NATS. Airflow's API is found by
these variables: KAI_AIRFLOW_URL ([api] base_url by default), KAI_AIRFLOW_USER, KAI_AIRFLOW_PASSWORD.
"""


def add_site(parser: argparse.ArgumentParser, description: str) -> None:
    """Declare how a command finds things, below what it does."""
    parser.description, parser.formatter_class = description + WHERE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--home", metavar="DIR", type=Path, help=f"a stack of `kai-airflow up` (./{HOME}, if one runs)")
    parser.add_argument("--dags", metavar="DIR", type=Path, help="the KRT files' folder (that of Airflow's bundles)")


async def site(args: argparse.Namespace) -> Site:
    """The site that the arguments mean.

    :raises SiteError: Airflow can't tell, or has no KRT files
    :raises StackError: no stack runs in the folder of --home
    """
    from kai_airflow.bridge.site import SiteError

    found = await _site(args.home)
    if args.dags is None and not found.folders:
        raise SiteError(
            "Airflow has no KrtDagBundle. Remedy: add one to [dag_processor] dag_bundle_config_list, "
            "or name the folder of the KRT files with --dags."
        )
    return replace(found, folders=(args.dags.absolute(),)) if args.dags else found


async def _site(home: Path | None) -> Site:
    from kai_airflow.bridge.site import Site, SiteError, ask_airflow
    from kai_airflow.local.home import Home

    stack = Home((home or HOME).absolute())
    if home is None and not stack.runs():
        try:
            return await ask_airflow()
        except SiteError as error:
            raise SiteError(f"{error} For a stack of this machine: `kai-airflow up`, or name its --home.") from error
    stack.require_running()
    return Site.from_json(stack.site.read_bytes())
