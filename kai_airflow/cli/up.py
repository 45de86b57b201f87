"""``kai-airflow up``: the stack of one machine, until it is stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.cli.homes import DAGS, add_home

if TYPE_CHECKING:
    import argparse

    from kai_airflow.local.stack import Stack

SUMMARY = "start Airflow, NATS and a small Kubernetes API on this machine, until Ctrl-C or `down`"
PORT = 8080


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--dags", metavar="DIR", type=Path, default=DAGS, help=f"folder of krt.yaml and DAG files (./{DAGS})"
    )
    add_home(parser, "folder for databases and logs, kept")
    parser.add_argument("--port", metavar="N", type=int, default=PORT, help=f"port of the UI on 127.0.0.1 ({PORT})")


def run(args: argparse.Namespace) -> int:
    """Run the stack: 0 when it was told to stop, 1 when a part of it can't be kept running."""
    from kai_airflow.local import programs

    programs.require_extra()  # what is imported below needs it

    from rich.console import Console

    from kai_airflow.cli.foreground import foreground
    from kai_airflow.cli.progress import reporter
    from kai_airflow.local.stack import Stack
    from kai_airflow.local.supervisor import PartEndedError

    with foreground():
        try:
            with Stack(args.dags, args.home, args.port, reporter(Console())) as stack:
                print(where(stack), flush=True)
                stack.wait()
        except PartEndedError as error:
            print(f"kai-airflow: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
    return 0


def where(stack: Stack) -> str:
    """What the user wants to know of a stack that is up."""
    return f"""
Airflow  {stack.url}
login    {stack.user}, password {stack.password}
DAGs     {stack.dags}
logs     {stack.home.logs} (parts), {stack.home.airflow / "logs"} (tasks)
stop     Ctrl-C, or kai-airflow down --home {stack.home.path}
"""
