"""KRT files as the DAGs of a Python module: what a generated module calls, and what a person's own does."""

from __future__ import annotations

import inspect
import logging
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from kai_airflow import krt
from kai_airflow.dag.builder import build
from kai_airflow.dag.claims import Claims, DuplicateDagIdError
from kai_airflow.errors import KaiAirflowError
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from kai_airflow.plan import Plan


log = logging.getLogger(__name__)


def load(module_file: str, path: str) -> dict[str, DAG]:
    """The DAGs of the KRT beside a generated module, by DAG id; for a task, its own alone.

    :param module_file: the generated module's ``__file__``: the KRT's name with ``.py`` behind it
    :param path: where the KRT stands below the dags folder, for its product's name and for messages
    :raises KrtError: the KRT breaks a rule; every error of the file is in the message
    :raises DuplicateDagIdError: another KRT file has a DAG id of this one
    """
    document = Path(module_file).with_suffix("")
    plan = compile_product(krt.load(document, PurePath(path)).require())
    wanted = get_parsing_context().dag_id
    # A task follows the dag-processor in whose DAG it is, and the KRT of a rehearsal, which stands elsewhere, is alone.
    if wanted is None and (root := _root(document, path)):
        Claims(root, path).take(workflow.dag_id for workflow in plan.workflows)
    return _built(plan, wanted)


def _root(document: Path, path: str) -> Path | None:
    """The folder of generated files, below which a document stands by its path; None for one that doesn't."""
    parts = PurePath(path).parts
    return document.parents[len(parts) - 1] if document.parts[-len(parts) :] == parts else None


def load_krt(*paths: str | os.PathLike[str]) -> dict[str, DAG]:
    """Make the DAGs of KRT files those of the module that calls this: for hosts where bundles can't be configured.

    A Python file in the dags folder, with the words "airflow" and "dag" in it, for which Airflow looks::

        from kai_airflow import load_krt

        load_krt("shop/krt.yaml")  # an Airflow DAG for each workflow

    :param paths: KRT files, or folders to search for them, relative to the calling module's folder; that folder itself
        where none is given
    :returns: the DAGs, by DAG id
    :raises KrtError: a KRT breaks a rule; every error of the file is in the message
    :raises DuplicateDagIdError: two of the files have one DAG id
    :raises KaiAirflowError: there is no KRT file
    """
    caller = inspect.currentframe().f_back.f_globals  # type: ignore[union-attr]  # CPython has frames
    folder = Path(caller.get("__file__", "")).parent
    dags: dict[str, DAG] = {}
    files: dict[str, str] = {}
    for path in paths or (".",):
        for file, shown in _files(folder, Path(path)):
            plan = compile_product(_required(krt.load(file, PurePath(file))))
            for dag_id in (workflow.dag_id for workflow in plan.workflows):
                if files.setdefault(dag_id, shown) != shown:
                    raise DuplicateDagIdError(shown, dag_id, files[dag_id])
            dags |= _built(plan, get_parsing_context().dag_id)
    caller.update(dags)
    return dags


def _required(report: krt.Report) -> krt.Product:
    for warning in report.warnings:
        log.warning("%s: %s", report.path, warning)
    return report.require()


def _files(folder: Path, path: Path) -> list[tuple[Path, str]]:
    """The KRT files that a path means, and how messages show them."""
    # Not resolved: a product may be named by a folder that is a link.
    found = Path(os.path.abspath(folder / path))  # noqa: PTH100
    if not found.is_dir():
        return [(found, str(path))]
    below = krt.find(found)
    if not below:
        raise KaiAirflowError(f"{found}: holds no krt.yaml and no *.krt.yaml. Remedy: name the folder that does.")
    return [(found / name, str(path / name)) for name in below]


def _built(plan: Plan, wanted: str | None) -> dict[str, DAG]:
    """All DAGs of a plan, or the one that is wanted."""
    return {workflow.dag_id: build(workflow) for workflow in plan.workflows if wanted in (None, workflow.dag_id)}
