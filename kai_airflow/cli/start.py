"""``kai-airflow start``: a product's DAGs are unpaused, and its processes run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.cli import lifecycle, sites
from kai_airflow.cli.terminal import print_line, tell
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse

    from kai_airflow.bridge.lifecycle.status import ProductStatus
    from kai_airflow.bridge.lifecycle.version import Version

SUMMARY = "start a product: unpause its DAGs, and wait for its processes"
TIMEOUT = 300.0  # seconds
DESCRIPTION = """\
Unpause the DAGs of a product's version, and wait until all its long-lived processes are ready. A process that can't
start ends the waiting at once, with the cause; the DAGs stay unpaused. Starting what is started is fine.

Exit codes: 0 started, 2 it can't be, or isn't yet; 130 interrupted: the starting goes on.

  kai-airflow start shop --comment 'the sale begins'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    lifecycle.add_version(parser, DESCRIPTION)
    lifecycle.add_timeout(parser, TIMEOUT)
    parser.set_defaults(action="start")


def run(args: argparse.Namespace) -> int:
    """Start: 0 when it is started."""
    import asyncio

    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    import asyncio

    site = await sites.site(args)
    note = lifecycle.note(args, site)
    seen = _Seen()
    async with lifecycle.version(args, site) as version:
        try:
            async with asyncio.timeout(args.timeout):
                status = await version.start(note, seen.status)
        except TimeoutError as error:
            raise KaiAirflowError(_late(version, seen, args.timeout)) from error
    if seen.count == 1:
        tell("it was started already")
    print_line(f"{status.product} {status.version}: {status.state}")
    return 0


@dataclass
class _Seen:
    """Tells of each process when it is ready."""

    count: int = 0
    last: ProductStatus | None = None
    _ready: set[tuple[str, str]] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)

    def status(self, status: ProductStatus) -> None:
        self.count += 1
        self.last = status
        ready = {(one.name, p.name) for one in status.workflows for p in one.processes if p.state == "STARTED"}
        if self.count > 1:
            for workflow, process in sorted(ready - self._ready):
                tell(f"{workflow}: {process} ready ({time.monotonic() - self._began:.1f} s)")
        self._ready = ready


def _late(version: Version, seen: _Seen, seconds: float) -> str:
    what = f"{version.workflows[0].product} {version.workflows[0].version} isn't started within {seconds:g} s"
    why = f": {seen.last.cause}" if seen.last and seen.last.cause else ""
    if "Remedy: " in why:
        return what + why
    remedy = "see that `kai-airflow bridge` runs, and `kai-airflow status`; or wait longer with --timeout"
    return f"{what}{why}. Remedy: {remedy}."
