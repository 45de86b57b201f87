"""``kai-airflow demo``: the example of KAI's README, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

SUMMARY = "run the example in ./dags/github-trainer end to end on this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--keep", action="store_true", help="leave the stack up afterwards, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Run the example: 0 when every task succeeded and the reply came, 1 otherwise."""
    from kai_airflow.local import programs

    programs.require_extra()  # what is imported below needs it

    from kai_airflow.cli.demonstration import demonstrate

    return demonstrate(keep=args.keep)
