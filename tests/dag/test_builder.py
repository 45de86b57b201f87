"""From the plan to a DAG."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path, PurePath

import pytest
from airflow.sdk import DAG, TriggerRule

from kai_airflow import krt
from kai_airflow.dag import build, load
from kai_airflow.dag.builder import ScheduleError
from kai_airflow.krt import KrtError
from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.operators.process import ProcessOperator
from kai_airflow.plan import compile_product

EXAMPLE = Path(__file__).parents[2] / "dags" / "github-trainer" / "krt.yaml"

SERIALIZE = """
import json, sys
from pathlib import PurePath
from airflow.serialization.serialized_objects import DagSerialization
from kai_airflow import krt
from kai_airflow.dag import build
from kai_airflow.plan import compile_product
product = krt.load(sys.argv[1], PurePath("github-trainer/krt.yaml")).require()
for workflow in compile_product(product).workflows:
    # The order of keys is Airflow's, by hash seed; what it stores and compares is sorted.
    print(json.dumps(DagSerialization.to_dict(build(workflow)), sort_keys=True))
"""


@pytest.fixture
def dag() -> DAG:
    product = krt.load(EXAMPLE, PurePath("github-trainer/krt.yaml")).require()
    return build(compile_product(product).workflows[0])


def test_the_graph_is_the_krts_graph(dag: DAG) -> None:
    assert {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks} == {
        "github-trigger": [],
        "splitter": ["github-trigger"],
        "training-go": ["splitter"],
        "training-py": ["splitter"],
        "validation": ["training-go", "training-py"],
        "exit": ["validation"],
    }


def test_a_trigger_is_an_intake_and_everything_else_a_process(dag: DAG) -> None:
    kinds = {task.task_id: type(task) for task in dag.tasks}
    assert kinds.pop("github-trigger") is IntakeOperator
    assert set(kinds.values()) == {ProcessOperator}


def test_a_fan_in_runs_when_nothing_failed_and_somebody_gave_it_a_message(dag: DAG) -> None:
    assert dag.get_task("validation").trigger_rule == TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS


def test_nothing_of_a_krt_is_ever_rendered(dag: DAG) -> None:
    assert all(tuple(task.template_fields) == () for task in dag.tasks)


def test_the_defaults_are_the_designs(dag: DAG) -> None:
    given = vars(dag)
    assert (given["catchup"], given["schedule"], str(given["start_date"])) == (False, None, "2020-01-01 00:00:00+00:00")
    assert dag.tags == {"kai", "product:github-trainer", "type:training", "version:v1.0.0"}


def test_what_the_extension_says_of_tries_is_the_tasks(tmp_path: Path) -> None:
    said = "{retries: 2, retry_delay: 5, execution_timeout: 60, deferrable: true}"
    text = EXAMPLE.read_text().replace("type: 'exit'\n", f"type: 'exit'\n        x-airflow: {said}\n", 1)
    assert said in text
    (tmp_path / "krt.yaml").write_text(text)
    product = krt.load(tmp_path / "krt.yaml", PurePath("p/krt.yaml")).require()
    dag = build(compile_product(product).workflows[0])
    task = dag.get_task("exit")
    assert isinstance(task, ProcessOperator)
    assert (task.retries, task.retry_delay, task.execution_timeout) == (2, timedelta(seconds=5), timedelta(minutes=1))
    assert task.deferrable
    splitter = dag.get_task("splitter")
    assert isinstance(splitter, ProcessOperator)
    assert not splitter.deferrable


def test_a_description_that_names_a_file_is_not_opened(tmp_path: Path) -> None:
    """Airflow opens documentation that ends in ".md"."""
    text = EXAMPLE.read_text().replace("Training workflow github event based", "/etc/passwd.md")
    (tmp_path / "krt.yaml").write_text(text)
    (found,) = load(str(tmp_path / "krt.yaml.py"), "shop/krt.yaml").values()
    assert found.description == "/etc/passwd.md"


STREAMING = """\
version: v1.0.0
description: a circle
workflows:
  - name: work
    type: serving
    processes:
      - {name: start, type: trigger, image: i, resourceLimits: &r {CPU: {request: 1}, memory: {request: 1M}}}
      - {name: a, type: task, image: i, resourceLimits: *r, subscriptions: [start, b]}
      - {name: b, type: task, image: i, resourceLimits: *r, subscriptions: [a]}
      - {name: end, type: exit, image: i, resourceLimits: *r, subscriptions: [b]}
"""


def test_a_circle_of_streaming_processes_is_shown_without_the_edge_that_leads_back(tmp_path: Path) -> None:
    (tmp_path / "krt.yaml").write_text(STREAMING)
    (found,) = load(str(tmp_path / "krt.yaml.py"), "shop/krt.yaml").values()
    assert {task.task_id: task.upstream_task_ids for task in found.tasks} == {
        "start": set(),
        "a": {"start"},
        "b": {"a"},
        "end": {"b"},
    }


@pytest.mark.parametrize("schedule", ["nonsense", "* * * *", "@continuous", "61 * * * *"])
def test_a_schedule_that_airflow_cannot_follow_names_file_workflow_and_remedy(tmp_path: Path, schedule: str) -> None:
    workflow = f"  - name: 'training-workflow'\n    x-airflow: {{schedule: '{schedule}'}}"
    (tmp_path / "krt.yaml").write_text(EXAMPLE.read_text().replace("  - name: 'training-workflow'", workflow))
    with pytest.raises(ScheduleError) as raised:
        load(str(tmp_path / "krt.yaml.py"), "a/krt.yaml")
    assert str(raised.value).startswith(f"a/krt.yaml: workflow 'training-workflow': x-airflow.schedule {schedule!r}: ")
    assert "@daily" in str(raised.value)


def test_an_invalid_krt_names_file_line_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "krt.yaml").write_text(EXAMPLE.read_text().replace("splitter.go", "spliter.go"))
    with pytest.raises(KrtError, match=r"a/krt.yaml.*(?s:.*)splitter"):
        load(str(tmp_path / "krt.yaml.py"), "a/krt.yaml")


def serialized(seed: str) -> str:
    command = [sys.executable, "-c", SERIALIZE, str(EXAMPLE)]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_same_krt_gives_the_same_bytes_whatever_the_process_and_its_hash_seed() -> None:
    first = serialized("1")
    assert '"dag_id": "github-trainer.training-workflow"' in first
    assert serialized("2") == first


def test_no_secret_of_a_krt_is_in_the_serialized_dag() -> None:
    text = EXAMPLE.read_text()
    assert "github_secret: secret" in text
    assert "github_secret" not in serialized("0")
