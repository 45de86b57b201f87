"""The workflows of a site, as Airflow has them: by DAG id."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
    from kai_airflow.krt.wording import listed, quoted

    found = among.workflows
    if dag_id in found:
        return found[dag_id]
    if among.broken:
        raise KaiAirflowError(
            f"no DAG {quoted(dag_id)}, but there are KRT files with errors. "
            f"Remedy: kai-airflow validate {' '.join(map(str, among.broken))}"
        )
    folders = listed([str(folder) for folder in site.folders], "and")
    if not found:
        raise KaiAirflowError(
            f"no DAG {quoted(dag_id)}: there is no KRT file below {folders}. Remedy: name their folder with --dags."
        )
    raise KaiAirflowError(
        f"no DAG {quoted(dag_id)} of a KRT below {folders}. Remedy: Use {listed(_alike(dag_id, found))}."
    )


def _alike(word: str, dag_ids: Iterable[str]) -> list[str]:
    return sorted(dag_ids, key=lambda one: (-difflib.SequenceMatcher(None, word, one).ratio(), one))


def require_batch(found: Workflow, what: str) -> None:
    """Raise KaiAirflowError for a workflow whose messages don't start runs."""
    if found.mode != "batch":
        raise KaiAirflowError(
            f"workflow {found.dag_id} streams: its messages go to its live processes and start no runs. "
            f"Remedy: name another to {what}, or set x-airflow: {{mode: batch}} in the workflow."
        )
