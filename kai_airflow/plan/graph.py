"""The graph of a workflow: the order of its processes, and where they stream in a circle. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kai_airflow.plan.model import Process


def in_order(processes: Iterable[Process]) -> list[Process]:
    """Topological order, the KRT's own where the graph leaves a choice.

    Where processes stream in a circle (the language refuses that in batch mode), edges that lead back in this order are
    those by which a circle is closed, no others.
    """
    by_name = {process.name: process for process in processes}
    sorter = TopologicalSorter({name: process.upstream for name, process in by_name.items()})
    try:
        sorter.prepare()
    except CycleError:
        return [by_name[name] for name in _from_its_beginnings(by_name)]
    rank = {name: position for position, name in enumerate(by_name)}
    order: list[Process] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        order += [by_name[name] for name in ready]
        sorter.done(*ready)
    return order


def upstreams(processes: Iterable[Process]) -> dict[str, tuple[str, ...]]:
    """Who feeds each of them by edges that lead on: all that do, but for those that close a circle."""
    found: dict[str, tuple[str, ...]] = {}
    for process in processes:
        found[process.name] = tuple(name for name in process.upstream if name in found)
    return found


def circle(processes: Iterable[Process], name: str) -> frozenset[str]:
    """The processes that a message may go through on its way from this one back to it, and itself."""
    by_name = {process.name: process for process in processes}
    downstream = _downstream(by_name)
    upstream = {name: list(process.upstream) for name, process in by_name.items()}
    return frozenset({name} | (_reached(downstream, name) & _reached(upstream, name)))


def _from_its_beginnings(by_name: Mapping[str, Process]) -> list[str]:
    """Depth first, from the triggers on: what was left last comes first, so that all but the roots have an edge there.

    Without recursion: a graph may be deeper than Python's stack.
    """
    downstream = _downstream(by_name)
    left: dict[str, None] = {}
    begun: set[str] = set()
    roots = [name for name, process in by_name.items() if not process.upstream]
    ahead = [*by_name, *roots]
    while ahead:
        name = ahead[-1]
        following = [] if name in begun else [one for one in downstream[name] if one not in begun]
        begun.add(name)
        if following:
            ahead += following
        else:
            left.setdefault(ahead.pop())
    return list(reversed(left))


def _downstream(by_name: Mapping[str, Process]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in by_name}
    for name, process in by_name.items():
        for upstream in process.upstream:
            found[upstream].append(name)
    return found


def _reached(edges: Mapping[str, list[str]], start: str) -> set[str]:
    """All that can be reached from here by at least one edge."""
    found: set[str] = set()
    ahead = list(edges[start])
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += edges[name]
    return found
