"""A run at the terminal: what happens, as it happens, and what came of it."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import cancelled_by_signals, foreground
from kai_airflow.cli.outcome import TAIL, Changes, by_start, counts, show_log, show_published, table
from kai_airflow.cli.progress import reporter
from kai_airflow.krt.wording import printable
from kai_airflow.local.rehearsal import rehearse
from kai_airflow.local.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kai_airflow.local.airflow_api import Task
    from kai_airflow.local.rehearsal import Job, Result

FOLDER = "kai-airflow-run-"
LONGEST = 1000  # characters of a line that people read
WELL = frozenset({"success", "skipped"})


def perform(job: Job, images: Path, *, as_json: bool) -> int:
    """Run the job and show it. Returns 0 when every task succeeded or was skipped, else 1."""
    console = Console(stderr=as_json)
    terminal = Terminal(console)
    with foreground(), scratch(FOLDER) as folder:
        result = cancelled_by_signals(rehearse(job, folder, images, reporter(console), terminal))
    _show(result, terminal, console)
    if as_json:
        print(json.dumps(as_dict(job, result), indent=2))
    else:
        for process, payloads in result.published.items():
            show_published(console, process, payloads)
    return 0 if all(task.state in WELL for task in result.tasks) else FOUND_WRONG


class Terminal:
    """Prints what it hears of a run, and remembers the last lines of each task."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._changes = Changes(console)
        self.last: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=TAIL))

    def states(self, tasks: Sequence[Task]) -> None:
        """Print what has changed."""
        self._changes.show(by_start(tasks))

    def line(self, task_id: str, text: str) -> None:
        """Print a line."""
        for line in readable(text):
            self.last[task_id].append(line)
            self._console.print(f"  {task_id:<16} [dim]│[/] {escape(line)}", highlight=False, soft_wrap=True)


def readable(line: str) -> Iterator[str]:
    """A line for people. What processes of KAI print is JSON: of that the level, the text and the traceback."""
    for one in _record(line).splitlines():
        yield printable(one, LONGEST)


def _record(line: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict) or not isinstance(record.get("msg"), str):
        return line
    level = str(record.get("level", "INFO")).upper()
    text = record["msg"] if level == "INFO" else f"{level} {record['msg']}"
    return "\n".join([text, *str(record.get("exception", "")).splitlines()])


def _show(result: Result, terminal: Terminal, console: Console) -> None:
    tasks = by_start(result.tasks)
    console.print(table(tasks, result.manifests))
    for task in tasks:
        if task.state == "failed":
            show_log(console, task, list(terminal.last[task.task_id]))


def as_dict(job: Job, result: Result) -> dict[str, Any]:
    """The result for programs."""
    return {
        "dag_id": job.dag_id,
        "run_id": result.run_id,
        "state": result.state,
        "tasks": [_task(task, result) for task in by_start(result.tasks)],
        "published": result.published,
    }


def _task(task: Task, result: Result) -> dict[str, Any]:
    messages_in, messages_out = counts(result.manifests[task.task_id])
    return {
        "process": task.task_id,
        "state": task.state,
        "tries": task.try_number,
        "duration": task.duration,
        "messages_in": messages_in,
        "messages_out": messages_out,
    }
