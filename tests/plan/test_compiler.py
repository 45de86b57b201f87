"""From the KRT to the plan."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePath

import pytest

from kai_airflow import krt
from kai_airflow.plan import Feed, Plan, Workflow, compile_product, flowchart, names

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


def workflow_of(*processes: str, more: str = "") -> Workflow:
    (workflow,) = compiled(*processes, more=more).workflows
    return workflow


CLOCK = ", config: {cron: '%s'}"
END = process("end", "exit", "start")


def test_a_trigger_that_keeps_time_is_the_schedule_and_no_longer_lives() -> None:
    workflow = workflow_of(process("start", "trigger", more=CLOCK % "0 30 6 * * *"), END)
    assert (workflow.schedule, workflow.keeper) == ("30 6 * * *", "start")
    assert workflow.processes[0].live is None


def test_an_interval_is_a_schedule() -> None:
    workflow = workflow_of(process("start", "trigger", more=CLOCK % "@every 90s"), END)
    assert workflow.schedule == timedelta(seconds=90)


def test_a_trigger_behind_hundreds_of_processes_is_the_schedule_too() -> None:
    many = [process(f"t{number}", "task", "start") for number in range(300)]
    workflow = workflow_of(*many, END, process("start", "trigger", more=CLOCK % "@daily"))
    assert (workflow.schedule, workflow.keeper) == ("0 0 * * *", "start")


def test_the_workflows_own_schedule_wins_and_the_trigger_is_the_one_it_is_for() -> None:
    workflow = workflow_of(
        process("start", "trigger", more=CLOCK % "* * * * * *"), END, more="    x-airflow: {schedule: '@daily'}"
    )
    assert (workflow.schedule, workflow.keeper) == ("@daily", "start")
    assert workflow.processes[0].live is None


def test_a_time_that_airflow_cannot_keep_leaves_its_trigger_alive() -> None:
    workflow = workflow_of(process("start", "trigger", more=CLOCK % "*/10 * * * * *"), END)
    assert (workflow.schedule, workflow.keeper) == (None, None)
    assert workflow.processes[0].live is not None


def test_of_several_that_keep_time_the_first_that_can_is_the_schedule() -> None:
    workflow = workflow_of(
        process("fast", "trigger", more=CLOCK % "@every 5s"),
        process("start", "trigger", more=CLOCK % "@hourly"),
        process("late", "trigger", more=CLOCK % "@daily"),
        process("end", "exit", "start", "fast", "late"),
    )
    assert (workflow.schedule, workflow.keeper) == ("0 * * * *", "start")
    assert [trigger.live is None for trigger in workflow.triggers] == [False, True, False]


def test_times_are_in_the_zone_of_the_workflow_and_the_schedule_in_that_of_its_cron() -> None:
    zone = "    x-airflow: {timezone: Europe/Madrid, start_date: 2026-07-01, end_date: 2026-08-01T00:00:00Z}"
    workflow = workflow_of(process("start", "trigger", more=CLOCK % "@daily"), END, more=zone)
    assert workflow.start.isoformat() == "2026-07-01T00:00:00+02:00"
    assert workflow.end is not None
    assert workflow.end.isoformat() == "2026-08-01T02:00:00+02:00"
    named = workflow_of(process("start", "trigger", more=CLOCK % "TZ=Asia/Tokyo 0 0 6 * * *"), END, more=zone)
    assert named.start.isoformat() == "2026-07-01T07:00:00+09:00"
    assert str(named.start.tzinfo) == "Asia/Tokyo"


def test_a_schedule_begins_in_2020_in_utc() -> None:
    assert workflow_of(process("start", "trigger"), END).start.isoformat() == "2020-01-01T00:00:00+00:00"


def test_long_lived_processes_have_kais_names() -> None:
    text = "    x-airflow: {mode: stream}"
    start, work, end = workflow_of(
        process("start", "trigger", "end"),
        process("work", "task", "start", "start.hot.new"),
        process("end", "exit", "work"),
        more=text,
    ).processes
    assert start.live is not None
    assert (start.live.deployment, start.live.output) == ("shop-v1-2-3-train-start", "shop_v1_2_3_train.start")
    assert [(i.subject, i.consumer) for i in start.live.inputs] == [("shop_v1_2_3_train.end", None)]
    assert work.live is not None
    assert [(i.subject, i.consumer) for i in work.live.inputs] == [
        ("shop_v1_2_3_train.start", "shop_v1_2_3_train-start-work"),
        ("shop_v1_2_3_train.start.hot.new", "shop_v1_2_3_train-start-hot-new-work"),
    ]
    assert end.live is not None


def test_in_batch_mode_only_triggers_live() -> None:
    start, end = workflow_of(process("start", "trigger"), END).processes
    assert start.live is not None
    assert end.live is None


def test_a_workflow_as_a_chart() -> None:
    workflow = workflow_of(
        process("start", "trigger", "end"), process("work", "task", "start.go"), process("end", "exit", "work")
    )
    assert flowchart(workflow) == (
        "flowchart LR\n"
        '    p1(["start"])\n    p2["work"]\n    p3[["end"]]\n'
        '    p3 -.-> p1\n    p1 -->|"go"| p2\n    p2 --> p3\n'
    )
