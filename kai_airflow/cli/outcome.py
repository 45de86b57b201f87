"""What became of a run, for people to read: what `kai-airflow demo` and `kai-airflow run` have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.highlighter import JSONHighlighter
from rich.table import Table

from kai_airflow.krt.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from kai_airflow.local.airflow_api import Task

TAIL = 20  # lines of a failed task's log
COLOURS = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "magenta", "running": "cyan"}


class Changes:
    """Prints each change of a task's state, once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str | None] = {}

    def show(self, tasks: Iterable[Task]) -> None:
        """The tasks as they are now."""
        for task in tasks:
            if task.state is not None and self._states.get(task.task_id) != task.state:
                self._states[task.task_id] = task.state
                self._console.print(f"  {task.task_id:<16} {_coloured(task.state)}", highlight=False)


def by_start(tasks: Iterable[Task]) -> list[Task]:
    """Those that began first come first; those that never began, last."""
    return sorted(tasks, key=lambda task: (task.start is None, task.start))


def table(tasks: Iterable[Task], manifests: Mapping[str, Any]) -> Table:
    """A line for each process: its state, seconds, and the messages that it got and published."""
    shown = Table("process", "state")
    for heading in ("duration", "messages in", "messages out"):
        shown.add_column(heading, justify="right")
    for task in tasks:
        duration = "-" if task.duration is None else f"{task.duration:.1f} s"
        counted = ["-" if number is None else str(number) for number in counts(manifests.get(task.task_id))]
        shown.add_row(task.task_id, _coloured(task.state), duration, *counted)
    return shown


def counts(manifest: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """How many messages a task got and published; None where it left no manifest."""
    if manifest is None:
        return None, None
    return int(manifest["fed"]), sum(int(channel["count"]) for channel in manifest["channels"].values())


def show_log(console: Console, task: Task, lines: Sequence[str]) -> None:
    """The last lines of a failed task's log."""
    console.print(f"\nlast lines of {task.task_id}:", style="red")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_published(console: Console, process: str, payloads: Iterable[Any]) -> None:
    """What a process has published."""
    for payload in payloads:
        show_payload(console, f"published by {process}:", payload)


def show_payload(console: Console, heading: str, payload: Any) -> None:
    """What a message carries, as JSON."""
    console.print(heading)
    text = json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False)
    lines = (printable(line, len(line)) for line in text.split("\n"))
    console.print(JSONHighlighter()("\n".join(lines)), soft_wrap=True)


def _coloured(state: str | None) -> str:
    colour = COLOURS.get(state or "", "default")
    return f"[{colour}]{state or 'none'}[/]"
