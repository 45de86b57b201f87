"""Airflow's public API, as the bridge needs it: what is there, and runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from kai_airflow.bridge.answers import CONFLICT, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, AirflowError, Answer, body, is_old
from kai_airflow.bridge.dag import Dag
from kai_airflow.messaging.errors import OriginError
from kai_airflow.messaging.origin import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from kai_airflow.bridge.site import AirflowSite

__all__ = [
    "ANSWER",
    "CONFLICT",
    "FORBIDDEN",
    "NOT_FOUND",
    "PAUSING",
    "UNAUTHORIZED",
    "Airflow",
    "AirflowError",
    "Dag",
    "Run",
    "reaching",
]

PAGE = 100  # the API's own limit
ANSWER = 20.0  # seconds; a busy machine's API server is slow, one that is cut off never answers
CONNECTIONS = 16  # at a time, whatever the number of workflows
PAUSING = ("patch_dag", "cli_dag_pause", "cli_dag_unpause")  # as the audit log calls it


@dataclass(frozen=True)
class Run:
    """A run; ``state`` is queued, running, success or failed, times are ISO 8601."""

    dag_id: str
    run_id: str
    state: str
    conf: Mapping[str, Any]
    run_after: str
    end: str | None

    @property
    def origin(self) -> Origin | None:
        """What it carries; None for one that the bridge didn't start (a person's, a replay), whatever its id."""
        try:
            origin = Origin.from_conf(self.conf)
        except OriginError:
            return None
        return origin if self.run_id == origin.run_id else None


class Airflow:
    """The API of one Airflow, for one user. Made by :func:`reaching`; all calls raise AirflowError."""

    def __init__(self, site: AirflowSite, client: httpx.AsyncClient) -> None:
        self.url = site.url
        self._login = {"username": site.user, "password": site.password}
        self._client = client
        self._token = ""
        self._renewing = asyncio.Lock()

    async def dag(self, dag_id: str) -> Dag | None:
        """A DAG that Airflow could run now; None where it doesn't know it (any more)."""
        found = await self._find(f"/api/v2/dags/{_q(dag_id)}")
        if found is None or found["is_stale"]:
            return None
        return _dag(found)

    async def dags(self, tag: str) -> dict[str, Dag]:
        """The DAGs with a tag that Airflow could run now, by id."""
        return {dag["dag_id"]: _dag(dag) async for dag in self._dags(tags=tag)}

    async def broken(self, tag: str) -> dict[str, Dag]:
        """The DAGs with a tag whose file had errors when Airflow saw it last, though it may be gone since."""
        found = self._dags(tags=tag, exclude_stale="false", has_import_errors="true")
        return {dag["dag_id"]: _dag(dag) async for dag in found}

    async def pause(self, dag_id: str, note: Mapping[str, str], *, paused: bool) -> None:
        """Pause or unpause a DAG; Airflow's audit log names the user, and has ``note`` beside it."""
        await self._ask("PATCH", f"/api/v2/dags/{_q(dag_id)}", params=note, json={"is_paused": paused})

    async def record(self, dag_id: str, note: Mapping[str, str]) -> None:
        """Have Airflow's audit log name the user and ``note`` at a DAG, and change nothing.

        A change of all DAGs that match a pattern, without one: the API says that it matches none.
        """
        await self._ask("PATCH", "/api/v2/dags", params={"dag_id": dag_id, **note}, json={"is_paused": False})

    async def was_paused(self, dag_id: str) -> bool:
        """Whether the audit log, as far as it goes back, knows of somebody who paused or unpaused a DAG."""
        asked: dict[str, Any] = {"dag_id": dag_id, "included_events": PAUSING, "limit": 1}
        return bool((await self._ask("GET", "/api/v2/eventLogs", params=asked))["total_entries"])

    async def unpaused(self, tag: str) -> dict[str, bool]:
        """The DAGs with a tag that nobody has paused, and whether Airflow still finds them in their files.

        One that changes while this asks may be missing: it is gone only where the next answer lacks it as well.
        """
        found = self._dags(tags=tag, paused="false", exclude_stale="false")
        return {dag["dag_id"]: not dag["is_stale"] async for dag in found}

    async def has_dags(self, tag: str) -> bool:
        """Whether Airflow finds DAGs with a tag in their files, paused or not."""
        answer = await self._ask("GET", "/api/v2/dags", params={"tags": tag, "limit": 1})
        return bool(answer["total_entries"])

    async def queued(self, dag_id: str) -> int:
        """How many runs of a DAG wait to begin."""
        answer = await self._ask("GET", f"{_runs(dag_id)}", params={"state": "queued", "limit": 1})
        return int(answer["total_entries"])

    async def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any], note: str) -> None:
        """Start a run. AirflowError with status 409: there is one with this id."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf), "note": note}
        _run(await self._ask("POST", _runs(dag_id), json=body))  # what says anything else has made none

    async def run(self, dag_id: str, run_id: str) -> Run | None:
        """A run as it is now, None where there is none."""
        found = await self._find(f"{_runs(dag_id)}/{_q(run_id)}")
        return None if found is None else _run(found)

    async def ended(self, prefix: str, since: str) -> AsyncIterator[Run]:
        """Runs of all DAGs whose id begins so, and that ended at or after ``since``, ISO 8601, the first first."""
        filters: dict[str, Any] = {"state": ["success", "failed"], "order_by": ["end_date", "id"]}
        filters |= {"run_id_prefix_pattern": prefix, "limit": PAGE, "offset": 0, "end_date_gte": since}
        shown: set[tuple[str, str, str | None]] = set()
        while True:
            page = [_run(one) for one in (await self._ask("GET", _runs("~"), params=filters))["dag_runs"]]
            for run in page:
                if (run.dag_id, run.run_id, run.end) not in shown:
                    yield run
            if len(page) < PAGE:
                return
            # From the last one's end on, and not by the number of the page: one that is cleared meanwhile would move
            # up all behind it, and hide some.
            last = page[-1].end
            filters["offset"] = filters["offset"] + PAGE if page[0].end == last else 0
            filters["end_date_gte"] = last
            shown = {(run.dag_id, run.run_id, run.end) for run in page if run.end == last}

    async def runs(self, dag_id: str, prefix: str) -> AsyncIterator[Run]:
        """All runs of a DAG whose id begins so, the oldest first."""
        async for run in self._pages(dag_id, prefix, {}):
            yield run

    async def unfinished(self, prefix: str) -> AsyncIterator[Run]:
        """Runs of all DAGs whose id begins so, and that are queued or running."""
        async for run in self._pages("~", prefix, {"state": ["queued", "running"]}):
            yield run

    async def oldest(self, dag_id: str) -> Run | None:
        """The oldest run of a DAG that Airflow still knows, whoever started it."""
        answer = await self._ask("GET", _runs(dag_id), params={"limit": 1, "order_by": "run_after"})
        return next((_run(one) for one in answer["dag_runs"]), None)

    async def states(self, run: Run) -> dict[str, str | None]:
        """The state of each task of a run, none where it isn't there (any more)."""
        found: dict[str, str | None] = {}
        path = f"{_runs(run.dag_id)}/{_q(run.run_id)}/taskInstances"
        while True:
            page = await self._find(path, limit=PAGE, offset=len(found))
            if page is None:
                return {}
            found |= {one["task_id"]: one["state"] for one in page["task_instances"]}
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    async def state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """The state of a task, None where it has none or isn't there."""
        found = await self._find(f"{_runs(dag_id)}/{_q(run_id)}/taskInstances/{_q(task_id)}")
        return None if found is None else found["state"]

    async def xcom(self, run: Run, task_id: str, key: str) -> Any:
        """What a task left under ``key``, None where it left nothing."""
        where = f"{_runs(run.dag_id)}/{_q(run.run_id)}/taskInstances/{_q(task_id)}/xcomEntries/{_q(key)}"
        found = await self._find(where, deserialize="true")
        return None if found is None else found["value"]

    async def _pages(self, dag_id: str, prefix: str, filters: Mapping[str, Any]) -> AsyncIterator[Run]:
        offset = 0
        while True:
            asked = {**filters, "run_id_prefix_pattern": prefix, "order_by": "id", "limit": PAGE, "offset": offset}
            page = (await self._ask("GET", _runs(dag_id), params=asked))["dag_runs"]
            for one in page:
                yield _run(one)
            if len(page) < PAGE:
                return
            offset += PAGE

    async def _dags(self, **asked: str) -> AsyncIterator[dict[str, Any]]:
        offset = 0
        while True:
            page = {**asked, "order_by": "dag_id", "limit": PAGE, "offset": offset}
            dags = (await self._ask("GET", "/api/v2/dags", params=page))["dags"]
            for dag in dags:
                yield dag
            if len(dags) < PAGE:
                return
            offset += PAGE

    async def _find(self, path: str, **params: str | int) -> dict[str, Any] | None:
        try:
            return await self._ask("GET", path, params=params)
        except AirflowError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Ask, logged in; a token that has expired is made anew, once."""
        for last in (False, True):
            token = self._token or await self._renewed("")
            answer = await self._send(method, path, headers={"Authorization": f"Bearer {token}"}, **request)
            if last or not is_old(answer):
                return body(method, path, answer)
            await self._renewed(token)
        raise AssertionError("unreachable")

    async def _renewed(self, old: str) -> str:
        """A token other than the old one; of many that notice at once, one logs in."""
        async with self._renewing:
            if self._token == old:
                answer = await self._send("POST", "/auth/token", json=self._login)
                self._token = str(body("POST", "/auth/token", answer, self._login["password"])["access_token"])
            return self._token

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            said = f"Airflow at {self.url}: {method} {path}: no answer ({error!r})."
            raise AirflowError(0, f"{said} Remedy: see that it runs, and KAI_AIRFLOW_URL.") from error


@asynccontextmanager
async def reaching(site: AirflowSite) -> AsyncIterator[Airflow]:
    """The API of an Airflow; it logs in when there is something to ask."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=site.url, timeout=ANSWER, limits=limits, trust_env=False) as client:
        yield Airflow(site, client)


def _q(part: str) -> str:
    return quote(part, safe="~")  # a run id holds colons and plus signs


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{_q(dag_id)}/dagRuns"


def _dag(answer: Mapping[str, Any]) -> Dag:
    return Dag.of(
        paused=answer["is_paused"],
        broken=answer["has_import_errors"],
        tags=[tag["name"] for tag in answer["tags"]],
        module=answer["relative_fileloc"],
    )


def _run(answer: Mapping[str, Any]) -> Run:
    said = Answer(answer)
    return Run(
        dag_id=said["dag_id"],
        run_id=said["dag_run_id"],
        state=said["state"],
        conf=said["conf"] or {},
        run_after=said["run_after"],
        end=said["end_date"],
    )
