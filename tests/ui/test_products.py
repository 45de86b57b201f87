"""Which products a user sees, and where their KRTs can't be read, what of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kai_airflow.bridge.client import Dag
from kai_airflow.bridge.lifecycle.status import Objects
from kai_airflow.ui.board import Look
from kai_airflow.ui.products import products
from kai_airflow.ui.shelf import Shelf
from tests.streaming import streaming

WORKFLOW = streaming()
TAGS = {"product": "other", "version": "v2.0.0", "type": "training"}
UNPAUSED, PAUSED = Dag(paused=False, broken=False, tags=TAGS), Dag(paused=True, broken=False, tags=TAGS)
BROKEN = Dag(paused=False, broken=True, tags=TAGS, file="other/krt.yaml")


def test_a_workflow_whose_dag_may_not_be_read_is_not_there() -> None:
    look = Look({WORKFLOW.dag_id: WORKFLOW}, Objects("default"), troubles=(), is_first=False)
    assert products(look, Shelf({}, ())) == []
    (found,) = products(look, Shelf({WORKFLOW.dag_id: UNPAUSED}, ()))
    assert [one.dag_id for one in found.workflows] == [WORKFLOW.dag_id]


def test_where_a_krt_cannot_be_read_the_dags_tags_tell() -> None:
    shelf = Shelf({"other.train.v2.0.0": PAUSED}, {"other.train.v2.0.0"})
    (found,) = products(Look(is_first=False), shelf)
    assert (found.product, found.version, found.state) == ("other", "v2.0.0", "STOPPED")
    (workflow,) = found.workflows
    assert (workflow.name, workflow.type, workflow.cause) == ("train", "training", "its KRT file can't be read here")


def test_nobody_knows_of_an_unpaused_ones_processes() -> None:
    (found,) = products(Look(is_first=False), Shelf({"other.train": UNPAUSED}, ()))
    assert found.state is None


def test_before_the_first_look_nothing_is_blamed() -> None:
    (found,) = products(Look(), Shelf({"other.train": UNPAUSED}, ()))
    assert (found.cause, found.workflows[0].cause) == ("", "")


def test_products_are_in_order_whether_or_not_their_krts_can_be_read() -> None:
    look = Look({WORKFLOW.dag_id: WORKFLOW}, Objects("default"), is_first=False)
    ids = ("zoo.a", WORKFLOW.dag_id, "art.a")
    dags = {one: replace(PAUSED, tags={**TAGS, "product": one.partition(".")[0]}) for one in ids}
    assert [one.product for one in products(look, Shelf(dags, ()))] == ["art", "shop", "zoo"]


def test_a_product_whose_file_has_errors_is_there_with_an_error() -> None:
    look = Look(broken=(Path("/dags/other/krt.yaml"),), is_first=False)
    (found,) = products(look, Shelf({"other.train": BROKEN}, ()))
    assert (found.product, found.state) == ("other", "ERROR")
    assert found.workflows[0].cause == "its KRT file has errors: see Airflow's import errors"
    (paused,) = products(look, Shelf({"other.train": replace(BROKEN, paused=True)}, ()))
    assert paused.state == "CREATED"


@pytest.mark.parametrize("broken", [(), (Path("/dags/another/krt.yaml"),), (Path("/dags/brother/krt.yaml"),)])
def test_a_file_that_was_removed_while_it_had_errors_is_no_products(broken: tuple[Path, ...]) -> None:
    assert products(Look(broken=broken, is_first=False), Shelf({"other.train": BROKEN}, ())) == []
