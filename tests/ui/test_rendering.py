"""Pages as HTML: all that others say is text in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kai_airflow.bridge.lifecycle.status import ProcessStatus, ProductStatus, WorkflowStatus
from kai_airflow.kube import Published
from kai_airflow.ui.messages import Channel, Manifest, Messages
from kai_airflow.ui.rendering import messages_page, products_page

HOSTILE = "<script>alert('1')</script>\"&"
ESCAPED = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34;&amp;"
PROCESS = ProcessStatus("rest", "trigger", "rest:v1", True, "ERROR", "it ended\n  with these words", 0, 1)
WORKFLOW = WorkflowStatus("shop.serve", "serve", "serving", "stream", "ERROR", "rest: it ended", False, 3, (PROCESS,))
PRODUCT = ProductStatus("shop", "v1.0.0", "ERROR", "serve: rest: it ended", (), (WORKFLOW,))


def page(*products: ProductStatus, troubles: tuple[str, ...] = ()) -> str:
    return products_page(products, troubles)


def test_a_product_with_its_states_causes_and_waiting_messages() -> None:
    shown = page(PRODUCT)
    assert '<span class="state error">ERROR</span>' in shown
    assert '<a href="../dags/shop.serve" target="_top">serve</a>' in shown
    assert "it ended\n  with these words" in shown
    assert '<td class="number">3</td>' in shown
    assert "0/1 ready" in shown


@pytest.mark.parametrize(
    "product",
    [
        replace(PRODUCT, product=HOSTILE),
        replace(PRODUCT, cause=HOSTILE, workflows=()),
        replace(PRODUCT, workflows=(replace(WORKFLOW, cause=HOSTILE, processes=()),)),
        replace(PRODUCT, workflows=(replace(WORKFLOW, name=HOSTILE),)),
        replace(PRODUCT, workflows=(replace(WORKFLOW, processes=(replace(PROCESS, cause=HOSTILE),)),)),
        replace(PRODUCT, published=(Published("serve", "rest", HOSTILE),)),
    ],
    ids=["a product", "a cause", "a workflow's cause", "a workflow", "a process's cause", "a URL"],
)
def test_what_a_krt_or_a_cluster_says_is_text(product: ProductStatus) -> None:
    assert ESCAPED in page(product)
    assert "<script>" not in page(product)


def test_what_could_not_be_looked_up_is_text_too() -> None:
    assert ESCAPED in page(PRODUCT, troubles=(HOSTILE,))


def test_a_cause_is_told_once() -> None:
    assert page(PRODUCT).count("it ended") == 1
    broken = replace(WORKFLOW, cause="its file has errors", processes=(replace(PROCESS, cause=""),))
    assert page(replace(PRODUCT, workflows=(broken,))).count("its file has errors") == 1


def test_a_dag_id_is_a_part_of_its_links_path() -> None:
    hostile = replace(WORKFLOW, dag_id='a/../b?"c')
    assert 'href="../dags/a%2F..%2Fb%3F%22c"' in page(replace(PRODUCT, workflows=(hostile,)))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.test/a", '<a href="https://shop.test/a" target="_blank" rel="noopener noreferrer">'),
        ("grpcs://shop.test", "<code>grpcs://shop.test</code>"),
        ("javascript:alert(1)", "<code>javascript:alert(1)</code>"),
        (None, "published, at an address that the cluster doesn"),
    ],
)
def test_only_what_a_browser_can_open_is_a_link(url: str | None, expected: str) -> None:
    assert expected in page(replace(PRODUCT, published=(Published("serve", "rest", url),)))


def test_a_workflow_that_lives_in_its_runs_alone_says_so() -> None:
    alone = replace(WORKFLOW, cause="", waiting=None, processes=(replace(PROCESS, lives=False),))
    shown = page(replace(PRODUCT, workflows=(alone,)))
    assert "none: it lives in its runs alone" in shown
    assert '<td class="number">\u2013</td>' in shown


def test_nothing_that_may_be_seen_says_how_to_begin() -> None:
    assert "No DAG of a KRT file that you may read." in page()


def test_no_page_loads_anything_from_elsewhere() -> None:
    shown = page(PRODUCT)
    assert shown.count("<script") == 1
    assert '<script src="static/kai.js" defer></script>' in shown
    assert "style=" not in shown
    assert "//" not in shown.replace("<!doctype", "")


def messages(**changes: Any) -> str:
    channel = Channel("splitter", "go", 2, "5-6")
    shown = Messages("success", Manifest("RUNS_shop_train", 1, 1, 0, (channel,), None), (Channel("start", "", 1, "4"),))
    return messages_page("shop.train", "manual__2026-01-01T00:00:00+00:00", "splitter", replace(shown, **changes))


def test_the_messages_of_a_task() -> None:
    shown = messages()
    assert "RUNS_shop_train" in shown
    assert "<code>5-6</code>" in shown
    assert "<code>4</code>" in shown
    assert 'href="../dags/shop.train/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/splitter"' in shown


def test_what_is_not_known_of_a_tasks_messages_is_said() -> None:
    assert "The task has left no manifest" in messages(manifest=None)
    assert "nobody knows what feeds it" in messages(fed=None)
    assert "Nothing was published for it" in messages(fed=())


def test_a_manifest_is_text() -> None:
    shown = messages(manifest=Manifest(HOSTILE, 1, 1, 0, (Channel(HOSTILE, HOSTILE, 1, HOSTILE),), None))
    assert "<script>" not in shown
    assert shown.count(ESCAPED) == 4


def test_the_latency_of_a_long_lived_process() -> None:
    assert "<dd>0.012 s</dd>" in messages(manifest=Manifest("shop_v1_0_0_serve", 1, 1, 0, (), 0.0123))
