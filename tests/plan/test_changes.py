"""What would change if one plan took the place of another."""

from __future__ import annotations

import dataclasses
import json
import typing
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

import pytest
import yaml

from kai_airflow import krt
from kai_airflow.plan import Plan, changes, compile_product, model
from kai_airflow.plan.changes import Change, Changes, DagChange, EdgeChange, NameChange, TaskChange, compare

RESOURCES = {"CPU": {"request": "100m"}, "memory": {"request": "100M"}}
ENTRY: dict[str, Any] = {"name": "entry", "type": "trigger"}
WORK: dict[str, Any] = {"name": "work", "type": "task", "subscriptions": ["entry.a"]}
EXIT: dict[str, Any] = {"name": "exit", "type": "exit", "subscriptions": ["work"]}


def process(of: dict[str, Any]) -> dict[str, Any]:
    return {"image": f"r/{of['name']}:v1", "resourceLimits": RESOURCES, **of}


def workflow(*processes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "train",
        "type": "training",
        "processes": [process(one) for one in processes or (ENTRY, WORK, EXIT)],
        **more,
    }


def plan(*workflows: dict[str, Any], **more: Any) -> Plan:
    document = {"version": "v1.0.0", "description": "text", "workflows": workflows or (workflow(),), **more}
    return compile_product(krt.check(yaml.safe_dump(document).encode(), PurePath("shop/krt.yaml")).require())


def the_dag(found: Changes) -> DagChange:
    (dag,) = found.dags
    return dag


def the_task(found: Changes) -> TaskChange:
    (task,) = the_dag(found).tasks
    return task


def codes(found: Changes) -> list[str]:
    return [consequence.code for dag in found.dags for consequence in dag.consequences]


def names(found: Changes, change: str) -> set[tuple[str, str]]:
    return {(name.kind, name.name) for name in found.names if name.change == change}


def test_nothing_changes_where_plans_are_the_same() -> None:
    found = compare(plan(), plan())
    assert found == Changes((), (), (), ())
    assert not found


def test_the_order_of_workflows_processes_and_subscriptions_is_no_change() -> None:
    hears = {**EXIT, "subscriptions": ["work", "entry"]}
    turned = {**EXIT, "subscriptions": ["entry", "work"]}
    other = workflow(name="other")
    old = plan(workflow(ENTRY, WORK, hears), other)
    assert not compare(old, plan(other, workflow(turned, WORK, ENTRY)))


@pytest.mark.parametrize(
    ("more", "path", "value"),
    [
        ({"image": "r/work:v2"}, ("image",), "r/work:v2"),
        ({"gpu": True}, ("gpu",), True),
        ({"replicas": 3}, ("replicas",), 3),
        ({"config": {"a.b": "1"}}, ("config", "a.b"), "1"),
        ({"nodeSelectors": {"disk": "ssd"}}, ("node_selectors", "disk"), "ssd"),
        ({"secrets": ["db"]}, ("secrets",), ["db"]),
        ({"x-airflow": {"retries": 0}}, ("retries",), 0),
        ({"x-airflow": {"deferrable": False}}, ("deferrable",), False),
        ({"x-airflow": {"pod": {"spec": {"hostNetwork": True}}}}, ("pod", "spec", "hostNetwork"), True),
    ],
)
def test_a_setting_of_a_task_has_its_path_and_both_values(
    more: dict[str, Any], path: tuple[str, ...], value: object
) -> None:
    found = compare(plan(), plan(workflow(ENTRY, {**WORK, **more}, EXIT)))
    task = the_task(found)
    assert (task.change, task.old_name, task.new_name) == ("changed", "work", "work")
    (change,) = task.changes
    assert (change.path, change.new) == (path, value)
    assert not found.names
    back = the_task(compare(plan(workflow(ENTRY, {**WORK, **more}, EXIT)), plan()))
    assert back.changes == (Change(path, value, change.old),)


def test_every_field_of_a_process_and_a_workflow_is_told() -> None:
    """A field that is new or that nobody thought of can't be left out."""
    old = plan()
    (work,) = [one for one in old.workflows[0].processes if one.name == "work"]
    of_the_plan = {field.name for field in dataclasses.fields(old)}  # which a workflow repeats
    of_all: list[tuple[Any, set[str]]] = [(work, {"name"}), (old.workflows[0], {"name", "processes", *of_the_plan})]
    for of, but in (*of_all, (old, {"workflows"})):
        for field in dataclasses.fields(of):
            if field.name not in but:
                other = dataclasses.replace(of, **{field.name: another(getattr(of, field.name))})
                assert compare(old, within(old, of, other)), f"{type(of).__name__}.{field.name}"


def another(value: object) -> Any:
    """Some other value of a field, as its type has it."""
    if isinstance(value, datetime):
        return value + timedelta(days=1)
    if isinstance(value, tuple):
        return (model.Feed("entry", "other"),) if value and isinstance(value[0], model.Feed) else ("other", *value)
    if isinstance(value, dict):
        return {"other": "value"}
    if dataclasses.is_dataclass(value):
        first = dataclasses.fields(value)[0].name
        return dataclasses.replace(typing.cast("Any", value), **{first: another(getattr(value, first))})
    return "other"


def within(plan: Plan, of: object, other: Any) -> Plan:
    """The plan with another process, workflow, or self."""
    if of is plan:
        return typing.cast("Plan", other)
    (flow,) = plan.workflows
    if of is not flow:
        other = dataclasses.replace(flow, processes=tuple(other if one is of else one for one in flow.processes))
    return dataclasses.replace(plan, workflows=(other,))


def test_the_kinds_of_names_are_those_of_the_plan() -> None:
    """A name is told by its type; see that no field with a type of kai_airflow.plan.names goes unnoticed."""
    types = {
        changes._name_type(field)
        for of in (model.Workflow, model.Process, model.Buckets, model.Live, model.Input)
        for field in dataclasses.fields(of)
    }
    assert types == {None, "DagId", "Stream", "Subject", "Consumer", "Bucket", "Deployment"}


def test_lists_of_kubernetes_are_told_apart_by_name() -> None:
    def template(level: str, *more: str) -> Plan:
        env = [*({"name": name, "value": "1"} for name in more), {"name": "LEVEL", "value": level}]
        pod = {"spec": {"containers": [{"name": "process", "env": env}], "tolerations": [{"key": level}]}}
        return plan(workflow(ENTRY, {**WORK, "x-airflow": {"pod": pod}}, EXIT))

    found = the_task(compare(template("1"), template("2", "NEW"))).changes
    env = ("pod", "spec", "containers", "process", "env")
    assert [(change.path, change.old, change.new) for change in found] == [
        ((*env, "NEW", "name"), None, "NEW"),
        ((*env, "NEW", "value"), None, "1"),
        ((*env, "LEVEL", "value"), "1", "2"),
        (("pod", "spec", "tolerations"), [{"key": "1"}], [{"key": "2"}]),
    ]


def test_a_secret_is_compared_and_not_told() -> None:
    def having(secret: str) -> Plan:
        env = [{"name": "DB_PASSWORD", "value": secret}]
        pod = {"spec": {"containers": [{"name": "process", "env": env, "args": [f"--token={secret}"]}]}}
        more = {"config": {"api_token": secret, "url": f"http://u:{secret}@h"}, "x-airflow": {"pod": pod}}
        flow = workflow(ENTRY, {**WORK, **more}, EXIT, config={"password": secret})
        return plan(flow, config={"secret": secret}, description=f"password: {secret}")

    found = compare(having("hunter2"), having("hunter3"))
    told = [*found.changes, *the_dag(found).changes, *the_task(found).changes]
    assert len(told) == 7
    assert [change for change in told if change.old != change.new] == []
    assert "hunter" not in json.dumps(dataclasses.asdict(found))


def test_a_name_in_a_pod_that_reads_like_a_secret_is_masked_in_the_path() -> None:
    def having(value: str) -> Plan:
        pod = {"spec": {"resourceClaims": [{"name": "token=hunter2", "resourceClaimName": value}]}}
        return plan(workflow(ENTRY, {**WORK, "x-airflow": {"pod": pod}}, EXIT))

    (change,) = the_task(compare(having("a"), having("b"))).changes
    assert change == Change(("pod", "spec", "resourceClaims", "token= ***", "resourceClaimName"), "a", "b")


def test_true_is_not_one() -> None:
    def having(value: object) -> Plan:
        pod = {"spec": {"containers": [{"name": "process", "livenessProbe": {"tcpSocket": {"port": value}}}]}}
        return plan(workflow(ENTRY, {**WORK, "x-airflow": {"pod": pod}}, EXIT))

    assert the_task(compare(having(1), having(True))).changes == (
        Change(("pod", "spec", "containers", "process", "livenessProbe", "tcpSocket", "port"), 1, True),
    )


def test_an_empty_map_in_a_pod_says_something() -> None:
    def having(volume: dict[str, object]) -> Plan:
        pod = {"spec": {"volumes": [{"name": "cache", **volume}]}}
        return plan(workflow(ENTRY, {**WORK, "x-airflow": {"pod": pod}}, EXIT))

    (change,) = the_task(compare(having({}), having({"emptyDir": {}}))).changes
    assert change == Change(("pod", "spec", "volumes", "cache", "emptyDir"), None, {})


def test_tasks_and_edges_come_and_go() -> None:
    more = {"name": "more", "type": "task", "subscriptions": ["work", "entry.b"]}
    old = plan()
    new = plan(workflow({**ENTRY, "subscriptions": ["exit"]}, WORK, more, {**EXIT, "subscriptions": ["more"]}))
    found = the_dag(compare(old, new))
    assert [(task.change, task.old_name, task.new_name) for task in found.tasks] == [("added", None, "more")]
    assert Change(("image",), None, "r/more:v1") in found.tasks[0].changes
    assert found.edges == (
        EdgeChange("added", "entry", "exit", True),
        EdgeChange("added", "more", "work", False),
        EdgeChange("added", "more", "entry.b", False),
        EdgeChange("added", "exit", "more", False),
        EdgeChange("removed", "exit", "work", False),
    )
    back = compare(new, old)
    assert [(task.change, task.old_name, task.new_name) for task in the_dag(back).tasks] == [("removed", "more", None)]
    assert codes(back) == ["task-history-stays"]
    assert "tries and logs of more" in the_dag(back).consequences[0].message


def test_a_task_that_only_its_name_tells_apart_is_renamed_with_its_edges() -> None:
    new = plan(workflow(ENTRY, {**WORK, "name": "labour", "image": "r/work:v1"}, {**EXIT, "subscriptions": ["labour"]}))
    found = compare(plan(), new)
    assert the_dag(found).tasks == (TaskChange("renamed", "work", "labour", ()),)
    assert the_dag(found).edges == ()
    assert codes(found) == ["task-history-stays"]
    assert ("bucket", "key-store_shop_v1_0_0_train_labour") in names(found, "added")


def test_of_several_that_are_alike_nobody_can_tell_which_was_renamed() -> None:
    def having(*fresh: str) -> Plan:
        tasks = [{**WORK, "name": name, "image": "r/same:v1"} for name in fresh]
        return plan(workflow(ENTRY, *tasks, {**EXIT, "subscriptions": list(fresh)}))

    found = the_dag(compare(having("a", "b"), having("c", "d")))
    assert [task.change for task in found.tasks] == ["added", "added", "removed", "removed"]


def test_dags_come_and_go() -> None:
    other = workflow({**ENTRY, "name": "start"}, {**EXIT, "subscriptions": ["start"]}, name="other")
    found = compare(plan(), plan(workflow(), other))
    dag = the_dag(found)
    assert (dag.change, dag.old_id, dag.new_id, dag.consequences) == ("added", None, "shop.other", ())
    assert [task.change for task in dag.tasks] == ["added", "added"]
    assert ("stream", "RUNS_shop_other") in names(found, "added")
    back = compare(plan(workflow(), other), plan())
    dag = the_dag(back)
    assert (dag.change, dag.old_id, dag.new_id) == ("removed", "shop.other", None)
    assert codes(back) == ["history-stays"]


@pytest.mark.parametrize(
    ("new", "dag_id"),
    [
        (plan(workflow(name="learn")), "shop.learn"),
        (plan(**{"x-airflow": {"product": "mart"}}), "mart.train"),
        (plan(**{"x-airflow": {"version_in_dag_id": True}}), "shop.train.v1.0.0"),
    ],
)
def test_a_dag_that_gets_another_id_leaves_its_history(new: Plan, dag_id: str) -> None:
    found = compare(plan(), new)
    dag = the_dag(found)
    assert (dag.change, dag.old_id, dag.new_id) == ("renamed", "shop.train", dag_id)
    assert not dag.tasks
    assert codes(found) == ["history-stays"]
    assert f"{dag_id} begins without any" in dag.consequences[0].message


def test_another_product_says_where_its_name_comes_from() -> None:
    found = compare(plan(), plan(**{"x-airflow": {"product": "mart"}}))
    assert found.changes == (Change(("product",), "shop", "mart"),)
    assert [consequence.code for consequence in found.consequences] == ["other-product"]


def test_another_version_has_names_of_its_own_and_the_same_dags() -> None:
    flow = workflow(type="serving")
    found = compare(plan(flow), plan(flow, version="v2.0.0"))
    assert found.changes == (Change(("version",), "v1.0.0", "v2.0.0"),)
    assert [consequence.code for consequence in found.consequences] == ["other-version"]
    assert the_dag(found).change == "changed"
    assert [change.path for change in the_dag(found).changes] == [("tags",)]
    removed = names(found, "removed")
    assert {
        ("stream", "shop_v1_0_0_train"),
        ("consumer", "shop_v1_0_0_train-work-exit"),
        ("bucket", "key-store_shop_v1_0_0"),
        ("deployment", "shop-v1-0-0-train-exit"),
        ("subject", "shop_v1_0_0_train.work"),
    } <= removed
    old_way = {(kind, name.replace("v2", "v1")) for kind, name in names(found, "added")}
    assert old_way == removed
    assert ("bucket", "key-store_shop") not in removed


def test_a_schedule_and_its_clock() -> None:
    def scheduled(**more: Any) -> Plan:
        return plan(workflow(**{"x-airflow": {"schedule": "0 5 * * *", **more}}))

    found = compare(plan(), scheduled())
    assert the_dag(found).changes == (Change(("schedule",), None, "0 5 * * *"),)
    found = compare(scheduled(timezone="Europe/Madrid"), scheduled(timezone="Europe/Paris"))
    assert the_dag(found).changes == (Change(("start", "timezone"), "Europe/Madrid", "Europe/Paris"),)
    assert codes(found) == ["other-clock"]
    found = compare(scheduled(), scheduled(catchup=True))
    assert codes(found) == ["catches-up"]
    assert "since its last run, or 2020-01-01 00:00 UTC" in the_dag(found).consequences[0].message


def test_a_new_dag_that_catches_up_begins_at_its_start() -> None:
    catching_up = {"schedule": "@daily", "catchup": True, "start_date": "2026-01-01", "timezone": "Europe/Madrid"}
    other = workflow({**ENTRY, "name": "start"}, {**EXIT, "subscriptions": ["start"]}, name="other")
    found = compare(plan(other), plan(other, workflow(**{"x-airflow": catching_up})))
    assert codes(found) == ["catches-up"]
    assert the_dag(found).consequences[0].message.endswith("was due since 2026-01-01 00:00 Europe/Madrid")


def test_who_keeps_the_time() -> None:
    clock = {**ENTRY, "config": {"cron": "@every 90m"}}
    found = compare(plan(), plan(workflow(clock, WORK, EXIT)))
    assert Change(("schedule",), None, "@every 5400s") in the_dag(found).changes
    assert codes(found) == ["airflow-keeps-time"]
    assert NameChange("removed", "deployment", "shop-v1-0-0-train-entry") in found.names
    back = compare(plan(workflow(clock, WORK, EXIT)), plan())
    assert codes(back) == ["trigger-keeps-time"]


def test_a_mode_makes_processes_live_on() -> None:
    found = compare(plan(), plan(workflow(**{"x-airflow": {"mode": "stream"}})))
    assert codes(found) == ["other-mode"]
    assert NameChange("added", "consumer", "shop_v1_0_0_train-work-exit") in found.names


def test_configuration_that_a_bucket_holds_already_stays_until_the_next_version() -> None:
    def having(**more: Any) -> Plan:
        return plan(workflow(config={"a": more.pop("a", "1"), **more.pop("also", {})}), config={"b": "1"}, **more)

    found = compare(having(), having(a="2"))
    assert codes(found) == ["configuration-stays"]
    said = the_dag(found).consequences[0].message
    assert said.startswith("bucket key-store_shop_v1_0_0_train keeps what it holds for a: ")
    assert codes(compare(having(), having(also={"c": "1"}))) == []
    assert codes(compare(having(), having(a="2", version="v1.0.1"))) == []


def test_a_large_product_takes_no_time() -> None:
    def having(prefix: str) -> Plan:
        tasks = [{**WORK, "name": f"{prefix}-{number}"} for number in range(2000)]
        return plan(workflow(ENTRY, *tasks, {**EXIT, "subscriptions": [task["name"] for task in tasks]}))

    found = the_dag(compare(having("a"), having("b")))
    assert len(found.tasks) == 4000
