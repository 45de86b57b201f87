"""The workflows of a site, as Airflow has them: by DAG id."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kai_airflow.bridge.site import Site
    from kai_airflow.plan import Workflow


async def workflows(site: Site) -> Mapping[str, Workflow]:
    """All of them."""
    from kai_airflow.bridge.survey import Survey

    return await asyncio.to_thread(Survey(site.folders).look)


async def workflow(site: Site, dag_id: str) -> Workflow:
    """One of them. Raises KaiAirflowError, with those that there are."""
    return chosen(await workflows(site), dag_id, site)


def chosen(found: Mapping[str, Workflow], dag_id: str, site: Site) -> Workflow:
    """The one that is named. Raises KaiAirflowError, with those that there are, the most alike first."""
    from kai_airflow.krt.wording import listed, quoted

    if dag_id in found:
        return found[dag_id]
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
