"""As much of Airflow's API as the commands around the bridge ask, over HTTP: DAGs, and runs that tests may change."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

TOKEN = "a-token"


@dataclass
class AirflowStub:
    """``runs`` are by DAG and run id, ``tasks`` are states by DAG, run and task.

    ``answers`` are statuses with which the next requests for a run are refused.

    ``actions`` is what its audit log has: event, DAG, and what the request said.

    :param keeps: whether a run that is refused with 500 and more is there all the same
    :param gate: a request for a run waits until it is set; ``asked`` is set when one waits
    """

    url: str = ""
    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tasks: dict[tuple[str, str, str], str] = field(default_factory=dict)
    actions: asyncio.Queue[tuple[str, str, dict[str, str]]] = field(default_factory=asyncio.Queue)
    touched: set[str] = field(default_factory=set)
    lets_in: bool = True
    shows_events: bool = True
    answers: list[int] = field(default_factory=list)
    keeps: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def add_dag(self, dag_id: str) -> None:
        product = dag_id.partition(".")[0]
        self.dags[dag_id] = {
            "dag_id": dag_id,
            "is_paused": False,
            "is_stale": False,
            "has_import_errors": False,
            "relative_fileloc": f"{product}/krt.yaml.py",
            "tags": [{"name": tag} for tag in ("kai", f"product:{product}", "version:v1.0.0", "type:training")],
        }

    def add_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any], *, run_after: str = "") -> None:
        """A run that is there already; it is due now where nothing else is said."""
        self.runs[dag_id, run_id] = {
            "dag_id": dag_id,
            "dag_run_id": run_id,
            "state": "success",
            "conf": dict(conf),
            "note": None,
            "run_after": run_after or datetime.now(UTC).isoformat(),
            "end_date": None,
        }

    def of(self, dag_id: str) -> dict[str, dict[str, Any]]:
        """The runs of a DAG, or of all (``~``), by id, in the order in which they were made."""
        return {run_id: run for (dag, run_id), run in self.runs.items() if dag_id in (dag, "~")}

    def routes(self) -> Iterable[web.RouteDef]:
        runs = "/api/v2/dags/{dag}/dagRuns"
        return (
            web.post("/auth/token", self._log_in),
            web.get("/api/v2/dags", self._dags),
            web.patch("/api/v2/dags", self._record),
            web.get("/api/v2/dags/{dag}", self._dag),
            web.patch("/api/v2/dags/{dag}", self._pause),
            web.get("/api/v2/eventLogs", self._events),
            web.get(runs, self._list),
            web.post(runs, self._start),
            web.get(f"{runs}/{{run}}", self._run),
            web.get(f"{runs}/{{run}}/taskInstances/{{task}}", self._task),
        )

    async def _log_in(self, _: web.Request) -> web.Response:
        if not self.lets_in:
            return web.json_response({"detail": "who?"}, status=401)
        return web.json_response({"access_token": TOKEN}, status=201)

    async def _task(self, request: web.Request) -> web.Response:
        key = (request.match_info["dag"], request.match_info["run"], request.match_info["task"])
        return _found({"state": self.tasks[key]} if key in self.tasks else None)

    async def _dag(self, request: web.Request) -> web.Response:
        return _found(self.dags.get(request.match_info["dag"]))

    async def _dags(self, request: web.Request) -> web.Response:
        asked = request.query
        _, _, product = asked["tags"].partition(":")
        found = [dag for dag_id, dag in sorted(self.dags.items()) if not product or dag_id.startswith(f"{product}.")]
        if asked.get("exclude_stale") != "false":
            found = [dag for dag in found if not dag["is_stale"]]
        if asked.get("has_import_errors") == "true":
            found = [dag for dag in found if dag["has_import_errors"]]
        offset = int(request.query["offset"])
        return web.json_response({"dags": found[offset : offset + 100], "total_entries": len(found)})

    async def _pause(self, request: web.Request) -> web.Response:
        dag_id = request.match_info["dag"]
        self.dags[dag_id] |= await request.json()
        self.touched.add(dag_id)
        self.actions.put_nowait(("patch_dag", dag_id, dict(request.query)))
        return web.json_response(self.dags[dag_id])

    async def _record(self, request: web.Request) -> web.Response:
        said = dict(request.query)
        self.actions.put_nowait(("patch_dags", said.pop("dag_id"), said))
        return web.json_response({"dags": [], "total_entries": 0})

    async def _events(self, request: web.Request) -> web.Response:
        if not self.shows_events:
            return web.json_response({"detail": "no"}, status=403)
        return web.json_response({"event_logs": [], "total_entries": int(request.query["dag_id"] in self.touched)})

    async def _run(self, request: web.Request) -> web.Response:
        return _found(self.runs.get((request.match_info["dag"], request.match_info["run"])))

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query
        # As Airflow does: what ends a prefix and is neither letter nor digit doesn't count.
        prefix = re.sub(r"[^0-9A-Za-z]+$", "", asked.get("run_id_prefix_pattern", ""))
        found = [run for run_id, run in self.of(request.match_info["dag"]).items() if run_id.startswith(prefix)]
        if states := asked.getall("state", []):
            found = [run for run in found if run["state"] in states]
        if asked.get("order_by") == "run_after":
            found.sort(key=lambda run: str(run["run_after"]))
        offset, limit = int(asked.get("offset", 0)), min(int(asked.get("limit", 50)), 100)
        return web.json_response({"dag_runs": found[offset : offset + limit], "total_entries": len(found)})

    async def _start(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.gate.wait()
        dag_id, body = request.match_info["dag"], await request.json()
        status = self.answers.pop(0) if self.answers else 200
        if (dag_id, body["dag_run_id"]) in self.runs:
            return web.json_response({"detail": "exists"}, status=409)
        if status == 200 or (status >= 500 and self.keeps):
            self.add_run(dag_id, body["dag_run_id"], body["conf"])
            self.runs[dag_id, body["dag_run_id"]] |= {"state": "queued", "note": body["note"]}
        if status != 200:
            return web.json_response({"detail": "refused"}, status=status)
        return web.json_response(self.runs[dag_id, body["dag_run_id"]])


def _found(one: Mapping[str, Any] | None) -> web.Response:
    return web.json_response({"detail": "none"}, status=404) if one is None else web.json_response(one)


@asynccontextmanager
async def serving() -> AsyncIterator[AirflowStub]:
    """A stub that answers at its ``url``."""
    stub, app = AirflowStub(), web.Application()
    app.add_routes(stub.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    stub.url = f"http://127.0.0.1:{port}"
    try:
        yield stub
    finally:
        await runner.cleanup()
