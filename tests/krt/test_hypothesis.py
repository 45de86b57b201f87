"""Random documents, valid and damaged: what is right is read as it is, and what is wrong is only ever reported."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kai_airflow.krt import Report, check
from kai_airflow.plan import compile_product
from tests.krt.documents import products

if TYPE_CHECKING:
    import random

PATH = PurePath("shop/krt.yaml")
FEW = settings(max_examples=50, deadline=None)
"""Whole products take a while to make up."""
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def reported(document: Any) -> Report:
    return check(json.dumps(document, ensure_ascii=False).encode(errors="replace"), PATH)


def can_have_collisions(document: dict[str, Any]) -> bool:
    return any(workflow["x-airflow"]["mode"] == "stream" for workflow in document["workflows"])


@given(products())
@FEW
def test_what_is_valid_is_read_as_it_is_written(document: dict[str, Any]) -> None:
    report = reported(document)
    if can_have_collisions(document):
        codes = {error.code for error in report.errors}
        assert codes <= {"consumer-collision"}
        if codes:
            return
    product = report.require()
    assert product.version == document["version"]
    assert [workflow.name for workflow in product.workflows] == [said["name"] for said in document["workflows"]]
    for workflow, said in zip(product.workflows, document["workflows"], strict=True):
        assert (workflow.mode, workflow.schedule) == (said["x-airflow"]["mode"], said["x-airflow"].get("schedule"))
        for process, told in zip(workflow.processes, said["processes"], strict=True):
            assert (process.name, process.type, process.image) == (told["name"], told["type"], told["image"])
            assert (process.config, process.replicas, process.gpu) == (told["config"], told["replicas"], told["gpu"])
            assert [subscription.text for subscription in process.subscriptions] == told["subscriptions"]
            assert process.retries == told["x-airflow"].get("retries")


@given(products())
@FEW
def test_json_and_yaml_of_one_document_are_one_product(document: dict[str, Any]) -> None:
    written = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    assert check(written.encode(), PATH).product == reported(document).product


@given(products())
@FEW
def test_a_plan_has_no_two_names_alike_and_its_processes_in_order(document: dict[str, Any]) -> None:
    product = reported(document).product
    if product is None:
        return
    plan = compile_product(product)
    assert len({workflow.dag_id for workflow in plan.workflows}) == len(plan.workflows)
    lives = [process.live for workflow in plan.workflows for process in workflow.processes if process.live]
    assert len({live.deployment for live in lives}) == len(lives)
    consumers = [one.consumer for live in lives for one in live.inputs if one.consumer]
    assert len(set(consumers)) == len(consumers)
    for workflow in plan.workflows:
        if workflow.mode == "batch":
            seen: set[str] = set()
            for process in workflow.processes:
                assert seen.issuperset(process.upstream)
                seen.add(process.name)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


def damaged(document: Any, chance: random.Random, odd: Any) -> Any:
    """Something in it taken away, put elsewhere, made something else, or doubled."""
    result = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        found = places(result)
        if not found:
            break
        (container, key), (other, its) = chance.choice(found), chance.choice(found)
        how = chance.choice(["remove", "replace", "move", "rename", "double"])
        if how == "remove":
            del container[key]
        elif how == "replace":
            container[key] = odd
        elif how == "move":
            container[key] = copy.deepcopy(other[its])
        elif how == "rename" and isinstance(container, dict):
            container[f"{key}s"] = container.pop(key)
        elif how == "double" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    return result


@given(products(), st.randoms(use_true_random=False), ODD)
@settings(max_examples=120, deadline=None)
def test_damage_is_reported_and_raises_nothing(document: dict[str, Any], chance: random.Random, odd: Any) -> None:
    report = reported(damaged(document, chance, odd))
    assert report.valid or report.errors
    for issue in (*report.errors, *report.warnings):
        assert issue.code
        assert issue.location.startswith("krt")
        assert issue.message
        assert issue.remedy
        assert "\n" not in str(issue)
    if report.product:
        compile_product(report.product)


@given(products(), st.data())
@FEW
def test_a_text_that_is_cut_or_garbled_raises_nothing(document: dict[str, Any], data: st.DataObject) -> None:
    text = yaml.safe_dump(document, allow_unicode=True).encode()
    at = data.draw(st.integers(0, len(text)))
    garbage = data.draw(st.binary(max_size=8))
    check(text[:at] + garbage + text[at + data.draw(st.integers(0, 40)) :], PATH)


PRINT = """
import sys
from pathlib import PurePath
from kai_airflow.krt import check
report = check(sys.stdin.buffer.read(), PurePath("shop/krt.yaml"))
print(report.errors, report.warnings, report.product)
"""
BROKEN = """
version: 1
x-airflow: {c: 1, b: 2, a: 3}
workflows:
  - name: W
    type: data
    x-airflow: {access_control: {z: [a], y: [b], x: [c]}, q: 1, p: 2}
    processes:
      - {name: a, type: trigger, image: 'B C', config: {token: x, secret: y, password: z}, zz: 1, yy: 2, xx: 3}
      - {name: b, type: task, image: i, subscriptions: [c, d, a], nodeSelectors: {'a b': x, 'c d': y}}
"""


@pytest.mark.parametrize("document", [BROKEN, BROKEN.replace("version: 1", "version: v1.0.0")])
def test_a_report_is_the_same_whatever_the_hash_seed(document: str) -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            input=document.encode(),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(printed) == 1
