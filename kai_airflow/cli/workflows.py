"""The workflows of a site, as Airflow has them: by DAG id."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from kai_airflow.bridge.site import Site
    from kai_airflow.plan import Workflow


@dataclass(frozen=True)
class Known:
    """What the KRT files say: workflows by DAG id, and which files say nothing, since they have errors."""

    workflows: Mapping[str, Workflow]
    broken: Sequence[Path]


async def known(site: Site) -> Known:
    """All of it."""
    from kai_airflow.bridge.survey import Survey

    survey = Survey(site.folders)
    return Known(await asyncio.to_thread(survey.look), survey.broken)


async def workflow(site: Site, dag_id: str) -> Workflow:
    """One of them. Raises KaiAirflowError, with those that there are."""
    return chosen(await known(site), dag_id, site)


def chosen(among: Known, dag_id: str, site: Site) -> Workflow:
    """The one that is named. Raises KaiAirflowError, with those that there are, the most alike first."""
    if dag_id in among.workflows:
        return among.workflows[dag_id]
    raise _none("DAG", dag_id, among.workflows, among.broken, site)


def of_product(among: Known, product: str, site: Site) -> list[Workflow]:
    """The workflows of a product, of all its versions. Raises KaiAirflowError, with the products that there are."""
    found = [workflow for workflow in among.workflows.values() if workflow.product == product]
    if not found:
        products = {workflow.product for workflow in among.workflows.values()}
        raise _none("product", product, products, among.broken, site)
    return found


def _none(kind: str, name: str, there: Collection[str], broken: Sequence[Path], site: Site) -> KaiAirflowError:
    from kai_airflow.krt.wording import listed, quoted

    if broken:
        return KaiAirflowError(
            f"no {kind} {quoted(name)}, but there are KRT files with errors. "
            f"Remedy: kai-airflow validate {' '.join(map(str, broken))}"
        )
    folders = listed([str(folder) for folder in site.folders], "and")
    if not there:
        return KaiAirflowError(
            f"no {kind} {quoted(name)}: there is no KRT file below {folders}. Remedy: name their folder with --dags."
        )
    return KaiAirflowError(
        f"no {kind} {quoted(name)} of a KRT below {folders}. Remedy: Use {listed(_alike(name, there))}."
    )


def _alike(word: str, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda one: (-difflib.SequenceMatcher(None, word, one).ratio(), one))


def require_batch(found: Workflow, what: str) -> None:
    """Raise KaiAirflowError for a workflow whose messages don't start runs."""
    if found.mode != "batch":
        raise KaiAirflowError(
            f"workflow {found.dag_id} streams: its messages go to its live processes and start no runs. "
            f"Remedy: name another to {what}, or set x-airflow: {{mode: batch}} in the workflow."
        )
