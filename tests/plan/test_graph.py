"""The order of processes, and circles in it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kai_airflow import krt
from kai_airflow.plan import circle, compile_product
from kai_airflow.plan.graph import in_order

if TYPE_CHECKING:
    from kai_airflow.plan import Process

LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"


def ordered(graph: dict[str, list[str]]) -> list[Process]:
    """The processes of a streaming workflow whose tasks hear these."""
    tasks = "\n".join(
        f"      - {{name: {name}, type: task, image: i, {LIMITS}, subscriptions: [{', '.join(heard)}]}}"
        for name, heard in graph.items()
    )
    text = f"""version: v1.0.0
description: text
workflows:
  - name: w
    type: serving
    processes:
{tasks}
      - {{name: start, type: trigger, image: i, {LIMITS}}}
      - {{name: end, type: exit, image: i, {LIMITS}, subscriptions: [start]}}
"""
    (workflow,) = compile_product(krt.check(text.encode(), PurePath("p/krt.yaml")).require()).workflows
    return list(workflow.processes)


def names_of(processes: list[Process]) -> list[str]:
    return [process.name for process in processes]


def test_a_circle_begins_where_it_is_entered_whatever_the_krt_lists_first() -> None:
    found = ordered({"last": ["a"], "a": ["b"], "b": ["start", "a"]})
    assert [name for name in names_of(found) if name != "end"] == ["start", "b", "a", "last"]


def test_a_circle_is_all_that_leads_back() -> None:
    found = ordered({"a": ["start", "c"], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["start"]})
    assert {name: set(circle(found, name)) for name in "abcde"} == {
        "a": {"a", "b", "c"},
        "b": {"a", "b", "c"},
        "c": {"a", "b", "c"},
        "d": {"d"},
        "e": {"e"},
    }


def test_a_long_way_before_a_circle_is_no_trouble() -> None:
    way = {f"p{n}": [f"p{n - 1}" if n else "start"] for n in range(3000)}
    found = names_of(ordered({**way, "a": ["p2999", "b"], "b": ["a"]}))
    assert found.index("p2999") < found.index("a") < found.index("b")


NAMES = [f"p{n}" for n in range(6)]


@given(
    st.fixed_dictionaries(
        {
            name: st.lists(st.sampled_from(["start", *(n for n in NAMES if n != name)]), min_size=1, unique=True)
            for name in NAMES
        }
    )
)
def test_only_edges_of_circles_lead_back(graph: dict[str, list[str]]) -> None:
    found = ordered(graph)
    place = {process.name: n for n, process in enumerate(found)}
    reached = {"start"}
    for process in found:
        back = {one for one in process.upstream if place[one] > place[process.name]}
        assert back <= circle(found, process.name)
        if reached.intersection(process.upstream):
            reached.add(process.name)
    grown = {"start"}
    while more := {p.name for p in found if grown.intersection(p.upstream)} - grown:
        grown |= more
    assert reached == grown  # whatever a trigger reaches, it reaches by edges that lead on
    assert names_of(in_order(found)) == names_of(found) or any(len(circle(found, name)) > 1 for name in place)
