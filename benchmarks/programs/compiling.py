"""From the text of a workflow to its DAG: of a KRT, of Python, of dag-factory's YAML. ``compiling.py FOLDER TURN``."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from dagfactory import load_yaml_dags

from kai_airflow import krt
from kai_airflow.dag import build
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

TASKS = 300  # that are made for one figure, so that it doesn't hang on a few milliseconds


class Texts:
    """The three texts of a workflow, and what becomes of them."""

    def __init__(self, folder: Path) -> None:
        self._krt = (folder / "krt.yaml").read_bytes()
        self._python = (folder / "workflow.py").read_bytes()
        self._yaml = folder / "dag-factory.yaml"
        self._code = self._compiled()

    def krt(self) -> DAG:
        """As the module of a KRT does it."""
        plan = compile_product(krt.check(self._krt, PurePath("krt.yaml")).require())
        return _only([build(workflow) for workflow in plan.workflows])

    def python(self) -> DAG:
        """As the dag-processor does it the first time."""
        return _executed(self._compiled())

    def code(self) -> DAG:
        """As the dag-processor does it from then on: Python has kept what it compiled."""
        return _executed(self._code)

    def dag_factory(self) -> DAG:
        """As its documentation says."""
        names: dict[str, Any] = {}
        load_yaml_dags(names, config_filepath=str(self._yaml), defaults_config_path=str(self._yaml.parent))
        return _only(list(names.values()))

    def _compiled(self) -> CodeType:
        return compile(self._python, "workflow.py", "exec")


def _executed(code: CodeType) -> DAG:
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - this is how modules are run, and it is one of ours
    return _only([value for value in names.values() if isinstance(value, DAG)])


def _only(dags: list[DAG]) -> DAG:
    (dag,) = dags
    return dag


def main() -> None:
    """Do each once: what only the first time costs isn't measured. Then measure, each time another one first."""
    texts, turn = Texts(Path(sys.argv[1])), int(sys.argv[2])
    ways = deque(
        [("krt", texts.krt), ("python", texts.python), ("code", texts.code), ("dag-factory", texts.dag_factory)]
    )
    ways.rotate(turn)
    dags = {name: make() for name, make in ways}
    _require_the_same_graph(dags)
    for dag in dags.values():
        DagSerialization.to_dict(dag)
    gc.collect()
    gc.freeze()  # as the dag-processor does before it starts to parse
    rounds = max(1, TASKS // len(dags["krt"].tasks))
    seconds = {
        name: (_seconds(make, rounds), _seconds(partial(DagSerialization.to_dict, dags[name]), rounds))
        for name, make in ways
    }
    sys.stdout.write(json.dumps(seconds) + "\n")


def _require_the_same_graph(dags: dict[str, DAG]) -> None:
    """Only what does the same is compared."""
    graphs = [{task.task_id: task.upstream_task_ids for task in dag.tasks} for dag in dags.values()]
    if any(graph != graphs[0] for graph in graphs):
        sys.exit("the texts don't give the same graph")


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """Of one, on average; the garbage of one isn't collected at the expense of the next."""
    total = 0.0
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter()
        work()
        total += time.perf_counter() - began
    return total / rounds


if __name__ == "__main__":
    main()
