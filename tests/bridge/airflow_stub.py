"""A small HTTP server that behaves as Airflow's public API does, as far as the bridge asks it, and fails on demand.

Shapes and statuses are those of ``airflow.api_fastapi.core_api`` and of the simple auth manager.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from kai_airflow.bridge.site import AirflowSite
from kai_airflow.messaging.origin import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Act = Callable[[], Awaitable[web.StreamResponse]]

DAG = "shop.train"
LONGEST_NOTE = 1000  # characters, of the column in Airflow's database
PAGE = 100
USER, PASSWORD = "bridge", "s3cr3t/pass"


class Fault(Protocol):
    """What becomes of a request: ``act`` is what Airflow would do."""

    async def __call__(self, request: web.Request, act: Act) -> web.StreamResponse: ...


@dataclass
class StubRun:
    """A run, the states of its tasks, and what they left."""

    number: int
    dag_id: str
    run_id: str
    conf: dict[str, Any] | None
    note: str | None
    state: str = "running"
    run_after: datetime = field(default_factory=lambda: datetime.now(UTC))
    end: datetime | None = None
    tasks: dict[str, str | None] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def sequences(self) -> tuple[int, ...]:
        """The messages that it carries."""
        return Origin.from_conf(self.conf or {}).sequences

    def as_json(self) -> dict[str, Any]:
        return {
            "dag_run_id": self.run_id,
            "dag_id": self.dag_id,
            "logical_date": None,
            "queued_at": _iso(self.run_after),
            "start_date": None if self.state == "queued" else _iso(self.run_after),
            "end_date": _iso(self.end),
            "duration": None,
            "data_interval_start": None,
            "data_interval_end": None,
            "run_after": _iso(self.run_after),
            "last_scheduling_decision": None,
            "run_type": "manual",
            "state": self.state,
            "triggered_by": "rest_api",
            "triggering_user_name": USER,
            "conf": self.conf,
            "note": self.note,
            "dag_versions": [],
            "bundle_version": None,
            "dag_display_name": self.dag_id,
            "partition_key": None,
            "partition_date": None,
        }


@dataclass
class StubDag:
    """``None`` in its place is a DAG that Airflow doesn't know."""

    is_paused: bool = False
    is_stale: bool = False
    has_import_errors: bool = False
    tags: tuple[str, ...] = ("kai", "product:shop")

    def as_json(self, dag_id: str) -> dict[str, Any]:
        nothing: dict[str, Any] = dict.fromkeys(DAG_FIELDS)
        tags = [{"name": tag, "dag_id": dag_id, "dag_display_name": dag_id} for tag in self.tags]
        return {**nothing, "dag_id": dag_id, "dag_display_name": dag_id, "owners": [], **vars(self), "tags": tags}


DAG_FIELDS = (
    *("dag_id", "dag_display_name", "is_paused", "is_stale", "last_parsed_time", "last_parse_duration"),
    *("last_expired", "bundle_name", "bundle_version", "relative_fileloc", "fileloc", "description"),
    *("timetable_summary", "timetable_description", "timetable_partitioned", "timetable_periodic", "tags"),
    *("max_active_tasks", "max_active_runs", "max_consecutive_failed_dag_runs", "has_task_concurrency_limits"),
    *("has_import_errors", "next_dagrun_logical_date", "next_dagrun_data_interval_start"),
    *("next_dagrun_data_interval_end", "next_dagrun_run_after", "allowed_run_types", "owners"),
)


class AirflowStub:
    """One Airflow. ``fault``, where it is set, decides over every request but those for a token."""

    def __init__(self) -> None:
        self.url = ""
        self.dags: dict[str, StubDag] = {DAG: StubDag()}
        self.runs: dict[tuple[str, str], StubRun] = {}
        self.fault: Fault | None = None
        self.login_fault: Fault | None = None
        self.new_runs_are = "running"
        self.logins = 0
        self.asked: list[tuple[str, str]] = []
        self._tokens: set[str] = set()
        self._forged: set[str] = set()
        self._news = asyncio.Condition()

    @property
    def site(self) -> AirflowSite:
        return AirflowSite(self.url, USER, PASSWORD)

    @property
    def dag(self) -> StubDag:
        return self.dags[DAG]

    def started(self, dag_id: str = DAG) -> list[StubRun]:
        """The runs of a DAG in the order in which they were made."""
        return [run for run in self.runs.values() if run.dag_id == dag_id]

    def carried(self, dag_id: str = DAG) -> list[int]:
        """The messages of all runs, run by run."""
        return [sequence for run in self.started(dag_id) for sequence in run.sequences]

    def posts(self) -> int:
        return sum(method == "POST" and path.endswith("/dagRuns") for method, path in self.asked)

    def expire_tokens(self) -> None:
        """All that were given: 401 from now on."""
        self._tokens.clear()

    def change_key(self) -> None:
        """Tokens are signed with another key from now on: Airflow answers 403 to older ones, not 401."""
        self._forged |= self._tokens
        self._tokens.clear()

    def add(self, run_id: str, conf: dict[str, Any] | None, dag_id: str = DAG, **more: Any) -> StubRun:
        """A run that somebody else has made."""
        run = StubRun(len(self.runs) + 1, dag_id, run_id, conf, None, **more)
        self.runs[dag_id, run_id] = run
        return run

    def end(self, run: StubRun, state: str = "success", **tasks: str | None) -> None:
        """Have a run end now."""
        run.state, run.end = state, datetime.now(UTC)
        run.tasks |= tasks

    def clear(self, run: StubRun) -> None:
        run.state, run.end = "queued", None

    async def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something holds, seen after each answer."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(holds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AirflowStub]:
        app = web.Application(middlewares=[self._answered], client_max_size=64 << 20)
        api = "/api/v2/dags/{dag_id}"
        run = f"{api}/dagRuns/{{run_id}}"
        task = f"{run}/taskInstances/{{task_id}}"
        app.add_routes(
            [
                web.post("/auth/token", self._log_in),
                web.get("/api/v2/dags", self._dags),
                web.get(api, self._dag),
                web.get(f"{api}/dagRuns", self._list),
                web.post(f"{api}/dagRuns", self._start),
                web.get(run, self._run),
                web.get(f"{run}/taskInstances", self._tasks),
                web.get(task, self._task),
                web.get(f"{task}/xcomEntries/{{key}}", self._xcom),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name if not site.name.endswith(":0") else _address(runner)
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append((request.method, request.path))

        async def act() -> web.StreamResponse:
            return self._refusal(request) or await handler(request)

        fault = self.login_fault if request.path == "/auth/token" else self.fault
        try:
            return await (fault(request, act) if fault else act())
        finally:
            async with self._news:
                self._news.notify_all()

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.path == "/auth/token":
            return None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self._tokens:
            return None
        if token in self._forged:
            return _said(403, "Invalid JWT token")
        return _said(401, "Token Expired" if token else "Not authenticated")

    async def _log_in(self, request: web.Request) -> web.Response:
        said = await request.json()
        if said != {"username": USER, "password": PASSWORD}:
            return _said(401, "Invalid credentials")
        self.logins += 1
        self._tokens.add(token := f"token-{self.logins}")
        return web.json_response({"access_token": token}, status=201)

    async def _dag(self, request: web.Request) -> web.Response:
        dag_id = request.match_info["dag_id"]
        dag = self.dags.get(dag_id)
        if dag is None:
            return _said(404, f"Dag with id {dag_id} was not found")
        return web.json_response(dag.as_json(dag_id))

    async def _dags(self, request: web.Request) -> web.Response:
        asked = request.query
        found = {dag_id: dag for dag_id, dag in sorted(self.dags.items()) if set(asked.getall("tags")) & set(dag.tags)}
        if asked.get("exclude_stale", "true") == "true":
            found = {dag_id: dag for dag_id, dag in found.items() if not dag.is_stale}
        if asked.get("has_import_errors") == "true":
            found = {dag_id: dag for dag_id, dag in found.items() if dag.has_import_errors}
        if "paused" in asked:
            found = {dag_id: dag for dag_id, dag in found.items() if dag.is_paused == (asked["paused"] == "true")}
        offset, limit = int(asked.get("offset", 0)), min(int(asked.get("limit", 50)), PAGE)
        page = [dag.as_json(dag_id) for dag_id, dag in list(found.items())[offset : offset + limit]]
        return web.json_response({"dags": page, "total_entries": len(found)})

    async def _start(self, request: web.Request) -> web.Response:
        dag_id, body = request.match_info["dag_id"], await request.json()
        dag = self.dags.get(dag_id)
        if dag is None or dag.is_stale:
            return _said(404, f"Dag with dag_id: '{dag_id}' not found")
        if dag.has_import_errors:
            return _said(400, f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
        if unknown := set(body) - {"dag_run_id", "logical_date", "conf", "note"}:
            return _said(422, [{"type": "extra_forbidden", "loc": ["body", *sorted(unknown)], "input": body}])
        key = (dag_id, body["dag_run_id"])
        if key in self.runs:
            return _said(409, {"reason": "Unique constraint violation", "statement": "hidden"})
        if len(body["note"]) > LONGEST_NOTE or "\\u0000" in json.dumps(body).replace("\\\\", ""):
            return _said(422, {"reason": "Value rejected by database", "statement": "hidden"})
        run = StubRun(len(self.runs) + 1, dag_id, body["dag_run_id"], body["conf"], body["note"], self.new_runs_are)
        self.runs[key] = run
        return web.json_response(run.as_json())

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query
        found = [run for run in self.runs.values() if request.match_info["dag_id"] in ("~", run.dag_id)]
        # Characters behind the last letter or digit of a prefix are of no account.
        prefix = asked.get("run_id_prefix_pattern", "").rstrip("_-:.+")
        found = [run for run in found if run.run_id.startswith(prefix)]
        if states := asked.getall("state", []):
            found = [run for run in found if run.state in states]
        if since := asked.get("end_date_gte"):
            found = [run for run in found if run.end and run.end >= datetime.fromisoformat(since)]
        for order in reversed(asked.getall("order_by", ["id"])):
            found.sort(key=_orders()[order])
        offset, limit = int(asked.get("offset", 0)), min(int(asked.get("limit", 50)), PAGE)
        page = [run.as_json() for run in found[offset : offset + limit]]
        more = {"total_entries_limit": None, "next_cursor": None, "previous_cursor": None}
        return web.json_response({"dag_runs": page, "total_entries": len(found), **more})

    def _found(self, request: web.Request) -> StubRun | None:
        return self.runs.get((request.match_info["dag_id"], request.match_info["run_id"]))

    async def _run(self, request: web.Request) -> web.Response:
        run = self._found(request)
        return web.json_response(run.as_json()) if run else _said(404, "The DagRun was not found")

    async def _tasks(self, request: web.Request) -> web.Response:
        if (run := self._found(request)) is None:
            return _said(404, "DagRun was not found")
        offset, limit = int(request.query.get("offset", 0)), min(int(request.query.get("limit", 50)), PAGE)
        tasks = [{"task_id": name, "state": state} for name, state in run.tasks.items()]
        return web.json_response({"task_instances": tasks[offset : offset + limit], "total_entries": len(tasks)})

    async def _task(self, request: web.Request) -> web.Response:
        run, name = self._found(request), request.match_info["task_id"]
        if run is None or name not in run.tasks:
            return _said(404, "The Task Instance was not found")
        return web.json_response({"task_id": name, "state": run.tasks[name]})

    async def _xcom(self, request: web.Request) -> web.Response:
        run, key = self._found(request), request.match_info["key"]
        if run is None or (request.match_info["task_id"], key) not in run.xcoms:
            return _said(404, f"XCom entry with key: `{key}` not found")
        value = run.xcoms[request.match_info["task_id"], key]
        # As it stands in the database, unless it is asked for as what it means.
        said = value if request.query.get("deserialize") == "true" else json.dumps(value)
        return web.json_response({"key": key, "map_index": -1, "value": said})


def _said(status: int, detail: Any) -> web.Response:
    return web.json_response({"detail": detail}, status=status)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _orders() -> Mapping[str, Callable[[StubRun], Any]]:
    return {
        "id": lambda run: run.number,
        "end_date": lambda run: run.end or datetime.max.replace(tzinfo=UTC),
        "run_after": lambda run: run.run_after,
    }


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


# What can go wrong.


def answering(status: int, text: str = '{"detail": "no"}', *, method: str = "", times: int | None = None) -> Fault:
    """That status instead of what was asked for, for some time or always."""
    left = [times]

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if (method and request.method != method) or left[0] == 0:
            return await act()
        left[0] = None if left[0] is None else left[0] - 1
        return web.Response(status=status, text=text, content_type="application/json")

    return fault


async def dropped(request: web.Request) -> web.Response:
    """No answer: the connection is gone."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


def dropping_after(method: str = "POST", *, every: int = 1) -> Fault:
    """What was asked for is done, and nobody learns of it."""
    count = [0]

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        answer = await act()
        count[0] += request.method == method
        if request.method == method and count[0] % every == 0:
            return await dropped(request)
        return answer

    return fault


def hanging(method: str = "", *, times: int = 1, acts: bool = False) -> Fault:
    """No answer at all for some requests, done or not."""
    left = [times]

    async def fault(request: web.Request, act: Act) -> web.StreamResponse:
        if (method and request.method != method) or not left[0]:
            return await act()
        left[0] -= 1
        if acts:
            await act()
        await asyncio.sleep(3600)
        raise AssertionError

    return fault
