"""``kai-airflow demo``: the examples, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

SUMMARY = "run an example in ./dags end to end on this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Post a signed push event to the trigger of ./dags/github-trainer, follow its run, and show the reply."
    )
    parser.add_argument(
        "--serving", action="store_true", help="instead, call the REST trigger of ./dags/house-prices, and time it"
    )
    parser.add_argument("--keep", action="store_true", help="leave the stack up afterwards, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Run the example: 0 when all of it went well, 1 otherwise."""
    from kai_airflow.local import programs

    programs.require_extra()  # what is imported below needs it

    from kai_airflow.cli import demo_serving, demo_training
    from kai_airflow.cli.demonstration import demonstrate

    return demonstrate(demo_serving.show if args.serving else demo_training.show, keep=args.keep)
