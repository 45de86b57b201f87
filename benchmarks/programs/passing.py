"""Two passes of Airflow's dag-processor over all files of its bundles. ``passing.py COUNT FOUND``: how many, and where
to write what was found.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.dag_processing.manager import DagFileProcessorManager

if TYPE_CHECKING:
    from airflow.dag_processing.manager import DagFileInfo
    from airflow.dag_processing.processor import DagFileProcessorProcess

PASSES = 2


class Moment(NamedTuple):
    """In seconds: the time, and what this process and its ended children have had of processors until then."""

    time: float
    processor: float


class Manager(DagFileProcessorManager):
    """The dag-processor, which notes when each result came."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.moments: list[Moment] = []

    def handle_parsing_result(self, file: DagFileInfo, proc: DagFileProcessorProcess, **options: Any) -> None:
        """One more. Ends the program where it isn't what each file holds, one DAG."""
        super().handle_parsing_result(file, proc, **options)
        self.moments.append(now())
        result = proc.parsing_result
        if result is None or len(result.serialized_dags) != 1:
            sys.exit(f"{file.rel_path}: {result.import_errors if result else 'no result'}")


def main() -> None:
    """The first pass begins with the search for files, and each one ends with the last file's result."""
    count, found = int(sys.argv[1]), Path(sys.argv[2])
    manager = Manager(max_runs=PASSES)
    began = now()
    manager.run()  # type: ignore[no-untyped-call]
    if len(manager.moments) != PASSES * count:
        sys.exit(f"{len(manager.moments)} results of {PASSES} passes over {count} files")
    first, second = manager.moments[count - 1], manager.moments[-1]
    found.write_text(json.dumps({"first": between(began, first), "unchanged": between(first, second)}))


def now() -> Moment:
    """This one."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Moment(time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used))


def between(start: Moment, end: Moment) -> dict[str, float]:
    """What went by."""
    return {name: after - before for name, before, after in zip(Moment._fields, start, end, strict=True)}


if __name__ == "__main__":
    main()
