"""The command ``kai-airflow``: each of its commands is a module here."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from kai_airflow import __version__
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    *("up", "down", "logs", "demo", "init", "run", "validate", "compile", "diff", "schema"),
    *("start", "stop", "publish", "unpublish", "status"),
    *("bridge", "send", "deadletters", "replay", "audit", "prune", "sweep"),
)
FOUND_WRONG = 1  # what was looked at is wrong, or ended wrongly
CANNOT = 2  # the command can't do what it was asked to
INTERRUPTED = 130  # by Ctrl-C, as shells have it
CUT_OFF = 141  # by a reader that has seen enough, as shells have it
EXAMPLES = """\
examples:
  kai-airflow demo                        run the example of KAI's README, end to end, on this machine
  kai-airflow init shop                   a small product to start from, in ./dags/shop
  kai-airflow run dags/p/krt.yaml         one run of a workflow, in seconds, the result on the terminal
  kai-airflow up --dags ./dags            an Airflow on this machine; each krt.yaml in ./dags is a DAG
  kai-airflow logs scheduler -f           what its scheduler prints, and goes on to print
  kai-airflow down                        stop it, from any terminal
  kai-airflow validate dags/*/krt.yaml    what is wrong with these files, and how to mend it
  kai-airflow compile dags/p/krt.yaml     what this file becomes in Airflow, NATS and Kubernetes
  kai-airflow diff OLD NEW                what would change if the file NEW took the place of OLD
  kai-airflow schema > krt.schema.json    for editors, to check a krt.yaml while you write it
  kai-airflow start p                     unpause its DAGs, and wait for its long-lived processes
  kai-airflow stop p                      the reverse
  kai-airflow publish p                   make its triggers reachable, and print their URLs
  kai-airflow unpublish p                 the reverse
  kai-airflow status                      what all products are doing, with the cause where one can't
  kai-airflow bridge                      messages on NATS start runs, and replies go back (`up` runs one)
  kai-airflow send p.w '{"n": 1}' --wait  a request as a trigger sends it, and what comes back
  kai-airflow deadletters list            messages that could become no run, and why
  kai-airflow replay p.w --seq 5-7        past messages as new runs
  kai-airflow audit                       whether each message of a trigger is in one run
  kai-airflow prune --dry-run             what is left in NATS of versions that no KRT names
  kai-airflow sweep --dry-run             pods that no task waits for any more

`kai-airflow COMMAND --help` tells more.
"""


class Command(Protocol):
    """What a command's module has."""

    SUMMARY: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; gives the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 well, 1 what it looked at is wrong, 2 it can't, 130 interrupted, 141 cut off."""
    given = sys.argv[1:] if argv is None else list(argv)
    args = _parser(given).parse_args(given)
    try:
        code = int(args.run(args))
        sys.stdout.flush()  # while there is somebody to tell
        return code
    except KaiAirflowError as error:
        print(f"kai-airflow: {error}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return CUT_OFF
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        print(f"kai-airflow: can't write: {error.strerror}", file=sys.stderr)
        return CANNOT


def _drop_output() -> None:
    """Nobody takes it any more, and the interpreter flushes once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; of several commands it loads only the one that is given, so that each is as fast as it can be."""
    parser = argparse.ArgumentParser(
        prog="kai-airflow",
        description="Run AI workflows described in KRT files on Apache Airflow.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kai-airflow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [name for name in COMMANDS if name in given[:1]] or COMMANDS:
        command = cast("Command", import_module(f"{__name__}.{name}"))
        own = commands.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        command.arguments(own)
        own.set_defaults(run=command.run)
    return parser
