"""What is compared does the same."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk import DAG

from benchmarks import products
from kai_airflow import krt, kube
from kai_airflow.dag import build
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from kai_airflow.plan import Workflow

COUNT = 50
STEPS = products.steps(COUNT)


def workflow() -> Workflow:
    report = krt.check(products.as_krt("product", STEPS).encode(), PurePath("krt.yaml"))
    assert (report.errors, report.warnings) == ((), ())
    (only,) = compile_product(report.require()).workflows
    return only


def by_hand() -> DAG:
    module: dict[str, Any] = {}
    exec(compile(products.as_python("product", STEPS), "workflow.py", "exec"), module)  # noqa: S102
    (only,) = (value for value in module.values() if isinstance(value, DAG))
    return only


def graph(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: task.upstream_task_ids for task in dag.tasks}


@pytest.mark.parametrize("count", [6, 7, 8, 50, 500])
def test_all_lead_from_the_trigger_to_the_exit(count: int) -> None:
    made = products.steps(count)
    upstream = {name for step in made for name in step.upstream}
    assert [step.type for step in made] == ["trigger", *["task"] * (count - 2), "exit"]
    assert upstream == {step.name for step in made[:-1]}
    assert all(step.upstream for step in made[1:])


def test_all_three_texts_give_one_graph() -> None:
    expected = {step.name: set(step.upstream) for step in STEPS}
    (factory,) = yaml.safe_load(products.as_dag_factory("product", STEPS)).values()
    assert graph(build(workflow())) == graph(by_hand()) == expected
    assert {name: set(task["dependencies"]) for name, task in factory["tasks"].items()} == expected


def test_the_dags_have_one_id_and_their_tasks_the_same_settings() -> None:
    ours, theirs = build(workflow()), by_hand()
    assert ours.dag_id == theirs.dag_id == products.dag_id("product")
    for task in ours.tasks:
        other = theirs.get_task(task.task_id)
        assert (task.retries, task.retry_delay, task.trigger_rule) == (
            other.retries,
            other.retry_delay,
            other.trigger_rule,
        )


def test_pods_by_hand_ask_for_what_those_of_the_krt_do() -> None:
    planned, theirs = workflow(), by_hand()
    for process in planned.processes[1:]:
        spec = kube.pod(planned, process, "try")["spec"]
        (container,) = spec["containers"]
        pod: Any = theirs.get_task(process.name)
        assert pod.image == container["image"]
        assert pod.image_pull_policy == container["imagePullPolicy"]
        assert pod.node_selector == spec["nodeSelector"]
        assert pod.container_resources.requests == container["resources"]["requests"]
        assert pod.container_resources.limits == container["resources"]["limits"]
        assert [one.secret_ref.name for one in pod.env_from] == list(process.secrets)
        assert [one.mount_path for one in pod.volume_mounts] == [one["mountPath"] for one in container["volumeMounts"]]


def test_dag_factory_is_told_of_objects_by_their_classes() -> None:
    (factory,) = yaml.safe_load(products.as_dag_factory("product", STEPS)).values()
    task = factory["tasks"][STEPS[4].name]
    assert task["retry_delay"] == {"__type__": "datetime.timedelta", "seconds": 60}
    assert task["volumes"] == [
        {
            "__type__": "kubernetes.client.models.V1Volume",
            "name": "config",
            "secret": {"__type__": "kubernetes.client.models.V1SecretVolumeSource", "secret_name": STEPS[4].name},
        }
    ]
