"""A small client of Airflow's public API: what a demonstration and end-to-end tests ask of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

POLL = 0.25  # seconds between two looks
PAGE = 100  # the API's own limit
ANSWER = 60.0  # seconds; a busy machine's API server is slow
ENDED = frozenset({"success", "failed"})  # states of a run that change no more by themselves


class AirflowApiError(StackError):
    """Airflow refuses a request, or doesn't answer; ``status`` is the HTTP status, 0 for no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it may be gone in a while by itself."""
        return not self.status or self.status >= httpx.codes.INTERNAL_SERVER_ERROR


@dataclass(frozen=True)
class Run:
    """A DAG run; ``state`` is queued, running, success or failed, ``start`` and ``end`` are ISO 8601."""

    dag_id: str
    run_id: str
    state: str
    start: str | None = None
    end: str | None = None
    conf: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Task:
    """A task instance; ``state`` is None before it is scheduled, ``duration`` is in seconds, ``start`` ISO 8601."""

    task_id: str
    state: str | None
    try_number: int
    start: str | None
    duration: float | None


@dataclass(frozen=True)
class ImportProblem:
    """A file that is no DAG: its path in its bundle, and why."""

    bundle: str | None
    file: str
    text: str


class AirflowApi:
    """The API of a running stack, as a user of it. A context manager; all calls raise AirflowApiError."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER, trust_env=False)  # never through a proxy
        self._login = {"username": user, "password": password}

    def __enter__(self) -> Self:
        try:
            token = self._ask("POST", "/auth/token", json=self._login)["access_token"]
        except AirflowApiError:
            self._client.close()
            raise
        self._client.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def has_dag(self, dag_id: str) -> bool:
        """Whether Airflow knows this DAG and could run it now."""
        found = self._find(f"/api/v2/dags/{_q(dag_id)}")
        return found is not None and not found["is_stale"]

    def wait_for_dag(self, dag_id: str, timeout: float) -> None:
        """Wait until the DAG is there. Raises StackError after ``timeout`` seconds, with Airflow's import errors."""
        if not _wait(lambda: self.has_dag(dag_id), timeout):
            problems = "".join(f"\n{one.file}: {one.text}" for one in self.import_errors())
            raise StackError(
                f"no DAG {dag_id} after {timeout:g} s. Remedy: see that its krt.yaml is in the dags folder."
                f"{problems and ' Airflow could not import:'}{problems}"
            )

    def import_errors(self) -> list[ImportProblem]:
        """What Airflow could not import, of all bundles."""
        return [
            ImportProblem(one["bundle_name"], one["filename"], one["stack_trace"])
            for one in self._pages("/api/v2/importErrors", "import_errors")
        ]

    def last_parsed(self, dag_id: str) -> str:
        """When a DAG's file was last parsed, ISO 8601."""
        return str(self._ask("GET", f"/api/v2/dags/{_q(dag_id)}")["last_parsed_time"])

    def parse_again(self, dag_id: str) -> None:
        """Have the dag-processor parse a DAG's file now, changed or not."""
        token = self._ask("GET", f"/api/v2/dags/{_q(dag_id)}")["file_token"]
        self._ask("PUT", f"/api/v2/parseDagFile/{_q(token)}")

    def dag_versions(self, dag_id: str) -> list[int]:
        """The numbers of a DAG's versions."""
        pages = self._pages(f"/api/v2/dags/{_q(dag_id)}/dagVersions", "dag_versions")
        return sorted(int(one["version_number"]) for one in pages)

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Pause a DAG, or let it go on."""
        self._ask("PATCH", f"/api/v2/dags/{_q(dag_id)}", json={"is_paused": paused})

    def start_run(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> Run:
        """Start a run, as the Trigger button does."""
        body = {"logical_date": None, "conf": dict(conf or {}), "dag_run_id": run_id}
        return _run(self._ask("POST", f"/api/v2/dags/{_q(dag_id)}/dagRuns", json=body))

    def run(self, dag_id: str, run_id: str) -> Run:
        """A run as it is now."""
        return _run(self._ask("GET", _of(dag_id, run_id)))

    def runs(self, dag_id: str) -> list[Run]:
        """All runs of a DAG."""
        return [_run(one) for one in self._pages(f"/api/v2/dags/{_q(dag_id)}/dagRuns", "dag_runs")]

    def count_runs(self, dag_id: str) -> int:
        """How many runs a DAG has."""
        found = self._ask("GET", f"/api/v2/dags/{_q(dag_id)}/dagRuns", params={"limit": 1})
        return int(found["total_entries"])

    def wait_for_start(self, dag_id: str, run_id: str, timeout: float) -> Run:
        """Wait until a run that somebody else starts is there. Raises StackError after ``timeout`` seconds."""
        if not _wait(lambda: self._find(_of(dag_id, run_id)) is not None, timeout):
            raise StackError(f"no run {run_id} of {dag_id} after {timeout:g} s. Remedy: see the log of the bridge.")
        return self.run(dag_id, run_id)

    def wait_for_run(self, run: Run, timeout: float, seen: Callable[[list[Task]], None] = lambda _: None) -> Run:
        """Wait until a run has ended; ``seen`` gets its tasks again and again meanwhile.

        Raises StackError after ``timeout`` seconds, with the state of each task.
        """

        def ended() -> bool:
            over = self.run(run.dag_id, run.run_id).state in ENDED
            seen(self.tasks(run))
            return over

        if not _wait(ended, timeout):
            states = ", ".join(f"{task.task_id} {task.state}" for task in self.tasks(run))
            raise StackError(f"run {run.run_id} of {run.dag_id} hasn't ended after {timeout:g} s: {states}")
        return self.run(run.dag_id, run.run_id)

    def tasks(self, run: Run) -> list[Task]:
        """The tasks of a run as they are now."""
        pages = self._pages(f"{_of(run.dag_id, run.run_id)}/taskInstances", "task_instances")
        return [_task(one) for one in pages]

    def clear(self, run: Run, task_ids: list[str] | None = None) -> None:
        """Run tasks of a run once more, with all that comes after them; all of its tasks unless some are named."""
        body = {
            "dag_run_id": run.run_id,
            "task_ids": task_ids,
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self._ask("POST", f"/api/v2/dags/{_q(run.dag_id)}/clearTaskInstances", json=body)

    def mark(self, run: Run, task_id: str, state: str) -> None:
        """Have Airflow take a task as ended in this state, success or failed, whatever it does."""
        where = f"{_of(run.dag_id, run.run_id)}/taskInstances/{_q(task_id)}"
        self._ask("PATCH", where, json={"new_state": state})

    def end_run(self, run: Run, state: str) -> None:
        """Have Airflow take a run as ended in this state, success or failed, and its tasks with it."""
        self._ask("PATCH", _of(run.dag_id, run.run_id), json={"state": state})

    def task_instance_id(self, run: Run, task_id: str) -> str:
        """The id of a task's try, new at each one."""
        return str(self._ask("GET", f"{_of(run.dag_id, run.run_id)}/taskInstances/{_q(task_id)}")["id"])

    def delete_run(self, run: Run) -> None:
        """Delete a run, with all that Airflow knows of it."""
        self._ask("DELETE", _of(run.dag_id, run.run_id))

    def delete_dag(self, dag_id: str) -> None:
        """Delete a DAG with all its runs. It comes back if its file is still there."""
        self._ask("DELETE", f"/api/v2/dags/{_q(dag_id)}")

    def xcom(self, run: Run, task_id: str, key: str) -> Any:
        """What a task left under ``key``, None where it left nothing."""
        where = f"{_of(run.dag_id, run.run_id)}/taskInstances/{_q(task_id)}/xcomEntries/{_q(key)}"
        found = self._find(where, deserialize="true")
        return None if found is None else found["value"]

    def log(self, run: Run, task_id: str, try_number: int = 1) -> list[str]:
        """The lines of a task's log."""
        where = f"{_of(run.dag_id, run.run_id)}/taskInstances/{_q(task_id)}/logs/{try_number}"
        said = self._ask("GET", where, params={"full_content": "true"}, headers={"Accept": "application/json"})
        return [_line(event) for event in said["content"]]

    def _pages(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._ask("GET", path, params={"limit": PAGE, "offset": offset})
            yield from page[key]
            offset += PAGE
            if offset >= page["total_entries"]:
                return

    def _find(self, path: str, **params: str) -> dict[str, Any] | None:
        try:
            return self._ask("GET", path, params=params)
        except AirflowApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise AirflowApiError(0, f"Airflow: {method} {path}: {error!r}") from error
        if not answer.is_success:
            raise AirflowApiError(answer.status_code, f"Airflow: {method} {path}: {answer.status_code} {answer.text}")
        body: dict[str, Any] = (answer.json() or {}) if answer.content else {}
        return body


def _wait(happened: Callable[[], bool], timeout: float) -> bool:
    """Whether it happens in time. An API server that is away for a while, or restarts, isn't the end."""
    deadline = time.monotonic() + timeout
    while time.monotonic() <= deadline:
        try:
            if happened():
                return True
        except AirflowApiError as error:
            if not error.passing:
                raise
        time.sleep(POLL)
    return False


def _q(part: str) -> str:
    return quote(part, safe="")  # a run id holds colons and plus signs


def _of(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_q(dag_id)}/dagRuns/{_q(run_id)}"


def _run(said: Mapping[str, Any]) -> Run:
    return Run(
        dag_id=said["dag_id"],
        run_id=said["dag_run_id"],
        state=said["state"],
        start=said["start_date"],
        end=said["end_date"],
        conf=said["conf"] or {},
    )


def _task(said: Mapping[str, Any]) -> Task:
    return Task(said["task_id"], said["state"], int(said["try_number"]), said["start_date"], said["duration"])


def _line(event: str | Mapping[str, Any]) -> str:
    """An entry of a structured log as a line: its time, level, text, and the error it carries."""
    if isinstance(event, str):
        return event
    head = " ".join(str(event[key]) for key in ("timestamp", "level") if event.get(key))
    errors = [f"{one.get('exc_type')}: {one.get('exc_value')}" for one in event.get("error_detail") or ()]
    return " ".join(filter(None, (head, str(event.get("event", "")), *errors)))
