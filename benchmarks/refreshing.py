"""What a bundle of a thousand KRTs costs where one of them has changed: its refresh, and the start of a task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import children, products
from benchmarks.figures import MILLISECONDS, RATIO, Table
from benchmarks.passing import PROCESSES, write

if TYPE_CHECKING:
    from pathlib import Path

FILES = 1000
COUNTS = {"one": 1, "many": FILES}  # by the bundle's name
PRODUCT = products.listed(1)[0]  # that changes; both bundles have it
ROWS = {
    "unchanged": "refresh, no file changed",
    "changed": "refresh, one file just changed",
    "bundle": "start of a task, one file just changed: the bundle",
    "loaded": "the bundle and the DAG",
    "process": "the whole process",
}


class Refreshing:
    """A bundle of one KRT and one of many."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            "Bundle refresh and task start",
            {"1 file": MILLISECONDS, f"{FILES:,} files": MILLISECONDS, f"{FILES:,} files beside 1": RATIO},
        )
        self._folder = folder / "refreshing"
        home = self._folder / "airflow"
        folders = {name: (children.KRT_BUNDLE, self._folder / name) for name in COUNTS}
        self._environment = children.environment(home, children.bundles(home, folders))

    def prepare(self) -> None:
        """Make the files, and do all once: what is generated for a new file isn't generated again."""
        for name, count in COUNTS.items():
            write(self._folder / name, count)
            self._figures(name)

    def measure(self) -> None:
        """One after the other."""
        one, many = (self._figures(name) for name in COUNTS)
        for name, row in ROWS.items():
            self.table.add(row, one[name] * 1000, many[name] * 1000, many[name] / one[name])

    def _figures(self, bundle: str) -> dict[str, float]:
        file = self._folder / bundle / PRODUCT / "krt.yaml"
        refreshed: dict[str, float] = children.said(children.command("refreshing.py", bundle, file), self._environment)
        return refreshed | self._start(bundle, file)

    def _start(self, bundle: str, file: Path) -> dict[str, float]:
        task = products.steps(PROCESSES)[-1].name
        words = children.command("starting.py", bundle, f"{PRODUCT}/krt.yaml.py", products.dag_id(PRODUCT), task)
        file.write_text(f"{file.read_text()}# changed\n")
        began = time.perf_counter()
        seconds: dict[str, float] = children.said(words, self._environment)
        return {**seconds, "process": time.perf_counter() - began}
