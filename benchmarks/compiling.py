"""From the text of a workflow to Airflow's DAG: a KRT beside the same by hand, and beside dag-factory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import children, products
from benchmarks.errors import BenchmarkError
from benchmarks.figures import MILLISECONDS, RATIO, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = (6, 50, 500)
WAYS = {"krt": "KRT", "python": "by hand", "code": "by hand, compiled before", "dag-factory": "dag-factory"}
PRODUCT = "product"
# A folder of its own: as a plugin of Airflow it would be imported by every part of a stack that finds it.
DAG_FACTORY = Path(sys.prefix, "dag-factory")


class Compiling:
    """Workflows of several sizes, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            "From a workflow's text to its DAG",
            {
                "to the DAG": MILLISECONDS,
                "of it, a process": MILLISECONDS,
                "beside by hand": RATIO,
                "dag-factory beside it": RATIO,
                "the DAG serialized": MILLISECONDS,
            },
        )
        self._folder = folder / "compiling"
        self._turn = 0

    def prepare(self) -> None:
        """Write the texts."""
        if not DAG_FACTORY.is_dir():
            raise BenchmarkError(f"{DAG_FACTORY}: dag-factory isn't there. Remedy: `make bench` installs it.")
        for size in SIZES:
            folder, workflow = self._folder / str(size), products.steps(size)
            folder.mkdir(parents=True)
            (folder / "krt.yaml").write_text(products.as_krt(PRODUCT, workflow))
            (folder / "workflow.py").write_text(products.as_python(PRODUCT, workflow))
            (folder / "dag-factory.yaml").write_text(products.as_dag_factory(PRODUCT, workflow))

    def measure(self) -> None:
        """One size after the other."""
        variables = _with_dag_factory(children.environment(self._folder / "airflow", {}))
        for size in SIZES:
            program = children.command("compiling.py", self._folder / str(size), self._turn)
            seconds = children.said(program, variables)
            for way, row in WAYS.items():
                self.table.add(f"{size} processes, {row}", *_figures(size, way, seconds))
        self._turn += 1


def _with_dag_factory(variables: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (variables.get("PYTHONPATH"), str(DAG_FACTORY))))
    # It would tell its makers that it is used.
    return {**variables, "PYTHONPATH": path, "AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY": "False", "DO_NOT_TRACK": "1"}


def _figures(size: int, way: str, seconds: Mapping[str, tuple[float, float]]) -> tuple[float, ...]:
    made, serialized = seconds[way]
    by_hand, factory = seconds["python"][0], seconds["dag-factory"][0]
    return made * 1000, made * 1000 / size, made / by_hand, factory / made, serialized * 1000
