"""``kai-airflow validate`` of one file, as who types it waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figures import MILLISECONDS, RATIO, Table
from kai_airflow.local.environment import basis

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE = Path(__file__).parents[1] / "dags" / "github-trainer" / "krt.yaml"
YAML = "python -c 'import yaml'"
COMMANDS: dict[str, Sequence[str]] = {
    YAML: (sys.executable, "-c", "import yaml"),
    "kai-airflow validate": (str(Path(sysconfig.get_path("scripts"), "kai-airflow")), "validate", str(EXAMPLE)),
}
TIMES = 5  # for one figure


class Validating:
    """Whole processes, beside one that only starts and imports the library that reads YAML."""

    def __init__(self, _folder: Path) -> None:
        self.table = Table("kai-airflow validate, one file", {"process": MILLISECONDS, "beside import yaml": RATIO})

    def prepare(self) -> None:
        """Do both once: Python keeps what it compiles, and the system what it reads."""
        _seconds()

    def measure(self) -> None:
        """One after the other."""
        seconds = _seconds()
        for row, one in seconds.items():
            self.table.add(row, one * 1000, one / seconds[YAML])


def _seconds() -> dict[str, float]:
    return {row: median(_one(command) for _ in range(TIMES)) for row, command in COMMANDS.items()}


def _one(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=basis(os.environ), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
