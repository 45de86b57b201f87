"""``kai-airflow down``: stops the stack of a home, from any terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.cli.homes import add_home

if TYPE_CHECKING:
    import argparse

SUMMARY = "stop what `kai-airflow up` started, and wait until all of it has ended"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which stack."""
    add_home(parser, "folder of the stack")


def run(args: argparse.Namespace) -> int:
    """Stop the stack: 0 when nothing of it runs any more, or ran."""
    from kai_airflow.local.home import Home
    from kai_airflow.local.stopping import stop

    home = Home(args.home.absolute())
    found = stop(home, lambda: print(f"stopping the stack in {home.path}", flush=True))
    if found.left:
        print(f"ended what was left of a stack in {home.path} (processes: {found.left})")
    else:
        print(f"{'stopped the stack' if found.ran else 'no stack runs'} in {home.path}")
    return 0
