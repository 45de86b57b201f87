"""Refreshing a bundle of KRTs in a process that lives on, as the dag-processor does. ``refreshing.py BUNDLE FILE``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from airflow.dag_processing.bundles.manager import DagBundlesManager

if TYPE_CHECKING:
    from airflow.dag_processing.bundles.base import BaseDagBundle

TIMES = 10
SETTLED = 1.5  # seconds after which the bundle takes a file's time for its own


def main() -> None:
    """Medians, of refreshing with a file changed just before, and with none."""
    bundle = DagBundlesManager().get_bundle(sys.argv[1])  # type: ignore[no-untyped-call]
    file = Path(sys.argv[2])
    bundle.initialize()
    time.sleep(SETTLED)
    bundle.refresh()
    unchanged = [_seconds(bundle) for _ in range(TIMES)]
    changed = []
    for number in range(TIMES):
        file.write_text(f"{file.read_text()}# {number}\n")
        changed.append(_seconds(bundle))
    sys.stdout.write(json.dumps({"changed": median(changed), "unchanged": median(unchanged)}) + "\n")


def _seconds(bundle: BaseDagBundle) -> float:
    began = time.perf_counter()
    bundle.refresh()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
