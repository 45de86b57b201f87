"""A run at the terminal: what happens, as it happens, and what came of it."""

from __future__ import annotations

import io
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from kai_airflow.cli import FOUND_WRONG
from kai_airflow.cli.foreground import cancelled_by_signals, foreground
from kai_airflow.cli.outcome import TAIL, Changes, by_start, counts, show_log, show_published, table
from kai_airflow.cli.progress import reporter
from kai_airflow.krt.wording import printable
from kai_airflow.local.rehearsal import rehearse
from kai_airflow.local.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kai_airflow.local.airflow_api import Task
    from kai_airflow.local.rehearsal import Job, Result

FOLDER = "kai-airflow-run-"
LONGEST = 1000  # characters of a line that people read
WELL = frozenset({"success", "skipped"})


def perform(job: Job, images: Path, *, as_json: bool) -> int:
    """Run the job and show it. Returns 0 when every task succeeded or was skipped, else 1."""
    _escape_what_is_not_encodable()
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


def _escape_what_is_not_encodable() -> None:
    """A process may print any character: none that the terminal's encoding lacks ends the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test's needn't be one
            stream.reconfigure(errors="backslashreplace")


class Terminal:
    """Prints what it hears of a run, and remembers the last lines of each task's last try."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._changes = Changes(console)
        self._over: set[str] = set()
        self.last: defaultdict[str, list[str]] = defaultdict(list)

    def states(self, tasks: Sequence[Task]) -> None:
        """Print what has changed."""
        self._changes.show(by_start(tasks))

    def lines(self, task_id: str, lines: Sequence[str]) -> None:
        """Print them."""
        shown = readable(lines)
        before = [] if task_id in self._over else self.last[task_id]
        self._over.discard(task_id)
        self.last[task_id] = [*before, *shown][-TAIL:]
        self._print(task_id, shown)

    def error(self, task_id: str, lines: Sequence[str]) -> None:
        """Print it, but for what it quotes and is there already."""
        known = {line.strip() for line in self.last[task_id]}
        first, *more = readable(lines) or [""]
        shown = [first, *(line for line in more if line.strip() not in known)]
        self._over.add(task_id)
        self.last[task_id] += shown
        self._print(task_id, shown, "red")

    def _print(self, task_id: str, lines: Sequence[str], style: str = "") -> None:
        for line in lines:
            shown = Text.assemble(f"  {task_id:<16} ", ("│", "dim"), " ", (line, style))
            self._console.print(shown, soft_wrap=True)


def readable(lines: Sequence[str]) -> list[str]:
    """Lines for people. What processes of KAI print is JSON: of that the level, the text and the traceback."""
    return [printable(one, LONGEST) for line in lines for one in _record(line).splitlines()]


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
            show_log(console, task, terminal.last[task.task_id])


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
