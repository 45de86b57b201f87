"""From the KRT to the plan."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from kai_airflow import krt
from kai_airflow.plan import Feed, Plan, compile_product, names

RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"


def process(name: str, kind: str, *subscriptions: str, more: str = "") -> str:
    listed = f", subscriptions: [{', '.join(subscriptions)}]" if subscriptions else ""
    return f"      - {{name: {name}, type: {kind}, image: r/{name}:v1, {RESOURCES}{listed}{more}}}"


def compiled(*processes: str, more: str = "") -> Plan:
    head = ["version: v1.2.3", "description: text", "config: {shared: one}", "workflows:", "  - name: train"]
    text = "\n".join([*head, "    type: training", more, "    processes:", *processes, ""])
    return compile_product(krt.check(text.encode(), PurePath("shop/krt.yaml")).require())


def test_names_of_a_workflow_are_kais() -> None:
    (workflow,) = compiled(process("start", "trigger"), process("end", "exit", "start")).workflows
    assert (workflow.dag_id, workflow.live_stream) == ("shop.train", "shop_v1_2_3_train")
    assert workflow.run_stream == "RUNS_shop_train"
    assert workflow.tags == ("kai", "product:shop", "type:training", "version:v1.2.3")
    buckets = workflow.processes[1].buckets
    assert (buckets.shared, buckets.version, buckets.workflow, buckets.process) == (
        "key-store_shop",
        "key-store_shop_v1_2_3",
        "key-store_shop_v1_2_3_train",
        "key-store_shop_v1_2_3_train_end",
    )


def test_processes_stand_in_topological_order_and_in_the_krts_where_that_leaves_a_choice() -> None:
    (workflow,) = compiled(
        process("end", "exit", "c", "a"),
        process("c", "task", "b"),
        process("b", "task", "start"),
        process("a", "task", "start.x"),
        process("start", "trigger"),
    ).workflows
    assert [p.name for p in workflow.processes] == ["start", "b", "a", "c", "end"]


def test_channels_of_one_upstream_are_one_edge_and_several_feeds() -> None:
    (workflow,) = compiled(
        process("start", "trigger"), process("end", "exit", "start.go", "start.hot.new", "start")
    ).workflows
    end = workflow.processes[1]
    assert end.feeds == (Feed("start", "go"), Feed("start", "hot.new"), Feed("start", ""))
    assert end.upstream == ("start",)


def test_a_triggers_subscription_to_an_exit_is_a_reply_and_no_edge() -> None:
    (workflow,) = compiled(process("start", "trigger", "end"), process("end", "exit", "start")).workflows
    start = workflow.processes[0]
    assert (start.feeds, start.replies) == ((), ("end",))
    assert workflow.triggers == (start,)


def test_a_missing_limit_is_the_request() -> None:
    (workflow,) = compiled(process("start", "trigger"), process("end", "exit", "start")).workflows
    resources = workflow.processes[0].resources
    assert (resources.cpu_limit, resources.memory_limit) == ("100m", "200M")


@pytest.mark.parametrize(("scope", "store"), [("product", "shop_v1_2_3_m"), ("workflow", "shop_v1_2_3_train_m")])
def test_an_object_store_is_named_by_its_scope(scope: str, store: str) -> None:
    more = f", objectStore: {{name: m, scope: {scope}}}"
    (workflow,) = compiled(process("start", "trigger"), process("end", "exit", "start", more=more)).workflows
    assert workflow.processes[1].object_store == store


def test_a_streaming_workflow_may_have_a_cycle() -> None:
    (workflow,) = compiled(
        process("start", "trigger"),
        process("a", "task", "start", "b"),
        process("b", "task", "a"),
        process("end", "exit", "b"),
        more="    x-airflow: {mode: stream}",
    ).workflows
    assert [p.name for p in workflow.processes] == ["start", "a", "b", "end"]


def test_no_name_of_this_project_can_meet_one_of_kais() -> None:
    """KAI's names are lower case throughout; a stream of ours isn't."""
    assert names.run_stream("a", "b") != names.run_stream("a", "b").lower()


def test_the_subjects_of_two_tries_and_of_input_and_output_never_meet() -> None:
    stream = names.run_stream("a", "b")
    assert not names.try_input(stream, "id").startswith(names.try_outputs(stream, "id").removesuffix(">"))
    assert names.try_output(stream, "id", "p").startswith(names.try_outputs(stream, "id").removesuffix(">"))
