"""``python -m benchmarks``: measures, with progress on stderr, and prints tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from benchmarks.bridging import Groups, Intake, Latency, Memory, Rate
from benchmarks.compiling import Compiling
from benchmarks.deferral import Deferral
from benchmarks.feeding import Feeding
from benchmarks.keeping import Keeping
from benchmarks.passing import Passing
from benchmarks.refreshing import Refreshing
from benchmarks.serving import Serving
from benchmarks.site import site
from benchmarks.starting import Starting
from benchmarks.tasks import Tasks, Workflows
from benchmarks.validating import Validating
from kai_airflow.cli import CANNOT, INTERRUPTED
from kai_airflow.cli.foreground import foreground
from kai_airflow.cli.progress import reporter
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from benchmarks.figures import Table
    from benchmarks.site import Site


class Measurement(Protocol):
    """One table, and how to fill it."""

    table: Table

    def prepare(self) -> None:
        """Do what comes once, before all measuring."""

    def measure(self) -> None:
        """Add one measurement to each row."""


REPEAT = 5
RUNS_OF_MESSAGES: dict[str, Callable[[Site], Measurement]] = {"latency": Latency, "rate": Rate, "groups": Groups}
BRIDGE_ALONE: dict[str, Callable[[Path], Measurement]] = {"intake": Intake, "memory": Memory}
ON_THE_STACK: dict[str, Callable[[Site], Measurement]] = {
    "tasks": Tasks,
    "workflows": Workflows,
    "deferral": Deferral,
    **RUNS_OF_MESSAGES,
    "starting": Starting,
}
OF_THE_LANGUAGE: dict[str, Callable[[Path], Measurement]] = {
    "compiling": Compiling,
    "passing": Passing,
    "refreshing": Refreshing,
    "validating": Validating,
}
LIVE: dict[str, Callable[[Path], Measurement]] = {"keeping": Keeping, "serving": Serving}
WITHOUT_STACK: dict[str, Callable[[Path], Measurement]] = {
    "feeding": Feeding,
    **BRIDGE_ALONE,
    **LIVE,
    **OF_THE_LANGUAGE,
}
ALL = (*ON_THE_STACK, *WITHOUT_STACK)
GROUPS = {
    "language": tuple(OF_THE_LANGUAGE),
    "bridge": (*RUNS_OF_MESSAGES, *BRIDGE_ALONE),
    "live": ("starting", *LIVE),
}


def main() -> int:
    """Measure and print. Exit codes: 0 well, 2 it can't, 130 interrupted."""
    args = _parser().parse_args()
    console = Console(stderr=True)
    try:
        with foreground(), tempfile.TemporaryDirectory(prefix="kai-airflow-benchmarks-") as folder:
            under = _circumstances(args.repeat)
            tables = _tables(Path(folder), names(args.only), args.repeat, console)
    except KaiAirflowError as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return CANNOT
    except KeyboardInterrupt:
        return INTERRUPTED
    sys.stdout.write(_json(under, tables) if args.json else _markdown(under, tables))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--repeat", type=_count, default=REPEAT, help="measurements of each figure (default %(default)s)"
    )
    choices = (*ALL, *GROUPS)
    parser.add_argument("--only", nargs="+", choices=choices, default=ALL, help="of all that is measured, only these")
    parser.add_argument("--json", action="store_true", help="print JSON, with every single figure")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def names(given: Sequence[str]) -> set[str]:
    """Of what is to be measured; a group stands for what is in it."""
    return {name for one in given for name in GROUPS.get(one, (one,))}


def _tables(folder: Path, wanted: Container[str], repeat: int, console: Console) -> list[Table]:
    """One measurement after the other, the stack only where it is needed."""
    tables = []
    if on_the_stack := [ON_THE_STACK[name] for name in ON_THE_STACK if name in wanted]:
        with site(folder, reporter(console)) as stage:
            tables += [_measured(kind(stage), repeat, console) for kind in on_the_stack]
    alone = [WITHOUT_STACK[name] for name in WITHOUT_STACK if name in wanted]
    tables += [_measured(kind(folder), repeat, console) for kind in alone]
    return tables


def _measured(measurement: Measurement, repeat: int, console: Console) -> Table:
    title = measurement.table.title
    times = min(repeat, measurement.table.at_most or repeat)
    console.print(f"{title}: preparing", highlight=False)
    measurement.prepare()
    for number in range(1, times + 1):
        console.print(f"{title}: {number} of {times}", highlight=False)
        measurement.measure()
    return measurement.table


def _circumstances(repeat: int) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "repeated": f"{repeat} times",
        "cores": f"{os.cpu_count()}",
        "busy before": f"{os.getloadavg()[0]:.1f}",  # processes, on the average of a minute
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "Python": platform.python_version(),
        "Airflow": version("apache-airflow-core"),
        "provider cncf.kubernetes": version("apache-airflow-providers-cncf-kubernetes"),
        "kai-airflow": version("kai-airflow"),
    }


def _json(circumstances: Mapping[str, str], tables: Sequence[Table]) -> str:
    said = {"circumstances": circumstances, "tables": [table.as_dict() for table in tables]}
    return json.dumps(said, indent=2) + "\n"


def _markdown(circumstances: Mapping[str, str], tables: Sequence[Table]) -> str:
    said = "; ".join(f"{what} {how}" for what, how in circumstances.items())
    return (
        "\n\n".join([f"Medians, with the least and the greatest in brackets; {said}.", *(t.markdown() for t in tables)])
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
