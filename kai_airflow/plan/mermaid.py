"""A workflow's graph as a Mermaid flowchart: who hears whom, and on which channel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kai_airflow.plan.model import Process, Workflow

_SHAPES = {"trigger": ("([", "])"), "task": ("[", "]"), "exit": ("[[", "]]")}
_SPECIAL = re.compile(r"[^\w./+@:-]")


def flowchart(workflow: Workflow) -> str:
    """The chart's text, ending in a line break. Ids are numbers: a process may be named like a word of Mermaid's."""
    ids = {process.name: f"p{number}" for number, process in enumerate(workflow.processes, 1)}
    return "\n".join(["flowchart LR", *_nodes(workflow, ids), *_edges(workflow, ids), ""])


def _nodes(workflow: Workflow, ids: Mapping[str, str]) -> Iterator[str]:
    for process in workflow.processes:
        begin, end = _SHAPES[process.type]
        yield f'    {ids[process.name]}{begin}"{process.name}"{end}'


def _edges(workflow: Workflow, ids: Mapping[str, str]) -> Iterator[str]:
    for process in workflow.processes:
        for feed in process.feeds:
            label = f'|"{_escaped(feed.channel)}"|' if feed.channel else ""
            yield f"    {ids[feed.process]} -->{label} {ids[process.name]}"
        yield from _replies(process, ids)


def _replies(process: Process, ids: Mapping[str, str]) -> Iterator[str]:
    for subscription in process.replies:
        name, _, channel = subscription.partition(".")
        label = f'|"{_escaped(channel)}"|' if channel else ""
        yield f"    {ids[name]} -.->{label} {ids[process.name]}"


def _escaped(text: str) -> str:
    """As Mermaid's entities, so that no text ends a label."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)
