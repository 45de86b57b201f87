"""``kai-airflow logs``: what the parts of a stack print."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from kai_airflow.cli.homes import add_home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kai_airflow.local.logs import Line

SUMMARY = "show what the parts of `kai-airflow up` print: Airflow's, nats-server, PostgreSQL, the local Kubernetes API"
POLL = 0.2  # seconds between two looks at the files: nobody tells when they grow

WIDTH = len("postgresql-initdb")  # of the longest name

_COLOURS = (36, 33, 32, 35, 34, 31)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which parts of which stack, and how much of it."""
    parser.add_argument("part", metavar="PART", nargs="?", help="one part, as scheduler; all of them by default")
    add_home(parser, "folder of the stack, which may run or not")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is printed next, until Ctrl-C")
    parser.add_argument("-n", dest="last", metavar="N", type=_count, help="only the last N lines of each part")


def run(args: argparse.Namespace) -> int:
    """Print the logs: 0; they are merged by time, with the part's name in each line where there are several."""
    from kai_airflow.local.home import Home
    from kai_airflow.local.logs import Reader

    wanted = [args.part] if args.part else []
    show = _show if args.part else _show_with_names
    with Reader(Home(args.home.absolute()), wanted) as reader:
        try:
            show(reader.read(args.last, unfinished=not args.follow))
            while args.follow:
                time.sleep(POLL)
                show(reader.read())
        except BrokenPipeError:  # `| head` has seen enough, and the interpreter flushes once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines: 0 or more")
    return int(text)


def _show(lines: Iterable[Line]) -> None:
    _print(line.text for line in lines)


def _show_with_names(lines: Iterable[Line]) -> None:
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    _print(f"{_name(line.part, coloured=coloured)} | {line.text}" for line in lines)


def _name(part: str, *, coloured: bool) -> str:
    padded = f"{part:<{WIDTH}}"
    return f"\x1b[{_COLOURS[sum(part.encode()) % len(_COLOURS)]}m{padded}\x1b[0m" if coloured else padded


def _print(lines: Iterable[str]) -> None:
    """Prints what the terminal's encoding lacks as an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
