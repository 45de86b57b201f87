"""``kai-airflow compile``: what a KRT file becomes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from kai_airflow.plan import Feed, Plan, Process, Workflow

SUMMARY = "print what a KRT file becomes: its DAGs, their tasks and every name"

_LONGEST = 1000  # characters of a line that people read


def arguments(parser: argparse.ArgumentParser) -> None:
    """A file, and the form of the answer."""
    parser.add_argument("file", metavar="FILE", help="a KRT file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="for people, or the whole plan")


def run(args: argparse.Namespace) -> int:
    """Prints the plan and gives 0; of an invalid file prints what ``validate`` prints and gives 1."""
    from kai_airflow import krt
    from kai_airflow.cli import validate
    from kai_airflow.plan import compile_product

    if Path(args.file).is_dir():
        raise KaiAirflowError(f"{args.file} is a folder: name a krt.yaml in it")
    # The product may be named by the file's real folder, whatever the current one; resolve() would follow links.
    report = krt.load(Path(args.file), PurePath(os.path.abspath(args.file)))  # noqa: PTH100
    if report.product is None:
        args.files = [args.file]
        return validate.run(args)
    plan = compile_product(report.product)
    if args.format == "json":
        print(json.dumps(_plain(plan), indent=2))
    else:
        _print_text(_lines(plan))
    return 0


def _plain(value: object) -> object:
    """A plan as objects, lists and scalars. Its mappings come from the KRT: what looks like a secret is masked."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _masked(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _masked(config: Mapping[str, str]) -> dict[str, str]:
    from kai_airflow.krt.sensitive import MASK, hide_assigned, hide_userinfo, is_sensitive

    return {key: MASK if is_sensitive(key) else hide_userinfo(hide_assigned(text)) for key, text in config.items()}


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.product} {plan.version}: {plan.description}"
    for workflow in plan.workflows:
        yield ""
        yield f"DAG {workflow.dag_id}"
        yield from _table("  ", _workflow(workflow))
        for process in workflow.processes:
            yield ""
            yield f"  {process.name}: {_task(process)}"
            yield from _table("    ", _process(process))


def _workflow(workflow: Workflow) -> Iterator[tuple[str, str]]:
    yield "type", f"{workflow.type}, {workflow.mode}"
    yield "schedule", _schedule(workflow)
    yield "tags", ", ".join(workflow.tags)


def _schedule(workflow: Workflow) -> str:
    schedule = workflow.schedule
    return schedule if isinstance(schedule, str) else f"every {schedule}" if schedule else "none"


def _task(process: Process) -> str:
    """What a process becomes."""
    return "trigger, a task without a pod" if process.type == "trigger" else f"{process.type}, a task with a pod"


def _process(process: Process) -> Iterator[tuple[str, str]]:
    resources = process.resources
    yield "image", process.image
    yield "fed by", ", ".join(map(_subscription, process.feeds))
    yield "replies from", ", ".join(process.replies)
    yield "CPU", _quantity(resources.cpu_request, resources.cpu_limit)
    yield "memory", _quantity(resources.memory_request, resources.memory_limit)
    yield "GPU", "one" if process.gpu else ""
    yield "replicas", str(process.replicas) if process.replicas > 1 else ""
    yield "config", ", ".join(f"{key}={value}" for key, value in _masked(process.config).items())


def _subscription(feed: Feed) -> str:
    return f"{feed.process}.{feed.channel}" if feed.channel else feed.process


def _quantity(request: str, limit: str) -> str:
    return request if request == limit else f"{request} to {limit}"


def _table(indent: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Two columns; a row without a value has nothing to tell."""
    return (f"{indent}{name:<12}  {value}" for name, value in rows if value)


def _print_text(lines: Iterable[str]) -> None:
    """What can't be printed is escaped, and so is what the terminal's encoding lacks."""
    from kai_airflow.krt.wording import printable

    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(printable(line, _LONGEST).encode(encoding, "backslashreplace").decode(encoding))
