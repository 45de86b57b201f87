"""What Airflow's UI tells of a workflow and its tasks, in Markdown.

Text of a KRT is escaped, so that it is shown as it is written, and its configuration isn't shown at all. Docs never end
with such text: Airflow opens what ends in ``.md`` as a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kai_airflow.plan import flowchart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.plan import Process, Resources, Workflow
    from kai_airflow.plan.model import Mode

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&:$^=])")
_FOOT = "Made from a krt.yaml by kai-airflow.\n"


def of_workflow(workflow: Workflow, description: str) -> str:
    """The docs of a DAG: what it is, its graph, and its processes."""
    product = f"product **{workflow.product}**, version {workflow.version}"
    head = f"Workflow **{workflow.name}** ({workflow.type}) of {product}."
    columns = ("process", "type", "image", "CPU", "memory", "hears")
    rows = [columns, ("---",) * len(columns), *(_row(process) for process in workflow.processes)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([_escaped(description), head, f"```mermaid\n{flowchart(workflow)}```", table, _FOOT])


def of_process(process: Process, mode: Mode) -> str:
    """The docs of a task."""
    return "\n".join([f"{_KINDS[mode][process.type]}\n", *(f"- {line}" for line in _facts(process)), "", _FOOT])


_KINDS = {
    "batch": {
        "trigger": "A **trigger**: takes the run's request and hands it to the run, without a pod.",
        "task": "A **task**: its image runs in a pod, fed with the messages that it hears in this run.",
        "exit": "An **exit**: its image runs in a pod; what it publishes is the run's result.",
    },
    "stream": {
        "trigger": "A **trigger**: sends the run's request into the live processes, as its own pods send theirs.",
        "task": "A **task**: tells what its live process did with the run's request, and how long it took.",
        "exit": "An **exit**: tells what its live process answered to the run's request, and how long it took.",
    },
}


def _row(process: Process) -> tuple[str, ...]:
    resources = process.resources
    return (process.name, process.type, f"`{process.image}`", _cpu(resources), _memory(resources), _hears(process))


def _facts(process: Process) -> Iterator[str]:
    yield f"image: `{process.image}`"
    yield f"CPU: {_cpu(process.resources)}; memory: {_memory(process.resources)}{'; one GPU' if process.gpu else ''}"
    if process.replicas > 1:
        yield f"replicas: {process.replicas}"
    if hears := _hears(process):
        yield f"{'replies from' if process.type == 'trigger' else 'hears'}: {hears}"


def _cpu(resources: Resources) -> str:
    return _span(resources.cpu_request, resources.cpu_limit)


def _memory(resources: Resources) -> str:
    return _span(resources.memory_request, resources.memory_limit)


def _span(request: str, limit: str) -> str:
    return request if request == limit else f"{request} to {limit}"


def _hears(process: Process) -> str:
    return ", ".join(map(_escaped, (*process.replies, *(feed.text for feed in process.feeds))))


def _escaped(text: str) -> str:
    """Each line as it is written, whatever it means in Markdown."""
    return "\n".join(_MARKUP.sub(r"\\\1", line.strip()) for line in text.splitlines())
