"""From the plan to a DAG."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path, PurePath

import pendulum
import pytest
from airflow.sdk import DAG, TriggerRule
from airflow.sdk.exceptions import RemovedInAirflow4Warning
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from kai_airflow import krt
from kai_airflow.dag import build
from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.operators.live_process import LiveProcessOperator
from kai_airflow.operators.live_trigger import LiveTriggerOperator
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


def built(text: str, path: str = "shop/krt.yaml") -> DAG:
    """The first DAG of a KRT."""
    return build(compile_product(krt.check(text.encode(), PurePath(path)).require()).workflows[0])


def with_extension(top: str = "{}", workflow: str = "{}", process: str = "{}") -> str:
    """The example with extensions, the last one in its exit."""
    text = EXAMPLE.read_text().replace("workflows:\n", f"x-airflow: {top}\nworkflows:\n", 1)
    text = text.replace("    type: training\n", f"    type: training\n    x-airflow: {workflow}\n", 1)
    return text.replace("type: 'exit'\n", f"type: 'exit'\n        x-airflow: {process}\n", 1)


def test_a_streaming_workflow_launches_nothing_and_its_graph_is_the_same(dag: DAG) -> None:
    said = built(with_extension(workflow="{mode: stream}"))
    kinds = {task.task_id: type(task) for task in said.tasks}
    assert kinds.pop("github-trigger") is LiveTriggerOperator
    assert set(kinds.values()) == {LiveProcessOperator}
    assert [task.upstream_task_ids for task in said.tasks] == [task.upstream_task_ids for task in dag.tasks]
    assert said.get_task("validation").trigger_rule == TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    assert all(tuple(task.template_fields) == () for task in said.tasks)
    assert "live process" in (said.get_task("exit").doc_md or "")


def test_a_circle_is_left_out_by_the_edge_that_closes_it() -> None:
    text = EXAMPLE.read_text().replace("- github-trigger", "- github-trigger\n          - 'validation.again'", 1)
    said = built(text.replace("    type: training\n", "    type: serving\n", 1))
    assert said.get_task("splitter").upstream_task_ids == {"github-trigger"}
    assert said.get_task("validation").upstream_task_ids == {"training-go", "training-py"}


def test_a_description_that_names_a_file_is_not_opened() -> None:
    """Airflow opens documentation that ends in ".md"."""
    found = built(EXAMPLE.read_text().replace("Training workflow github event based", "/etc/passwd.md"))
    assert found.description == "/etc/passwd.md"


def test_what_the_extension_says_of_all_dags_is_the_dags(dag: DAG) -> None:
    said = built(with_extension("{owner: ml-team, tags: [nightly, kai], namespace: shop, version_in_dag_id: true}"))
    assert said.dag_id == "shop.training-workflow.v1.0.0"
    assert said.owner == "ml-team"
    assert {task.owner for task in said.tasks} == {"ml-team"}
    assert said.tags == {"kai", "product:shop", "type:training", "version:v1.0.0", "nightly"}
    assert {task.namespace for task in said.tasks if isinstance(task, ProcessOperator)} == {"shop"}
    assert dag.owner == "airflow"


def test_what_the_extension_says_of_a_workflow_is_the_dags() -> None:
    when = "schedule: 0 6 * * *, timezone: Europe/Madrid, start_date: 2026-03-01, end_date: 2026-04-01T00:00:00Z"
    said = built(with_extension(workflow=f"{{{when}, catchup: true, max_active_runs: 3}}"))
    assert (said.catchup, said.max_active_runs) == (True, 3)
    assert (str(said.start_date), str(said.end_date)) == ("2026-02-28 23:00:00+00:00", "2026-04-01 00:00:00+00:00")
    assert said.timezone.name == "Europe/Madrid"
    timetable = DagSerialization.to_dict(said)["dag"]["timetable"]
    assert timetable["__var"]["expression"] == "0 6 * * *"
    assert timetable["__var"]["timezone"] == "Europe/Madrid"


def test_a_long_description_is_cut_since_every_dag_repeats_it() -> None:
    found = built(EXAMPLE.read_text().replace("Training workflow", "word " * 10_000))
    assert len(found.description or "") == 4000
    assert len(found.doc_md or "") < 10_000


@pytest.mark.parametrize("conf", [{}, {"trigger": None}, {"payload": [1, None], "trigger": "github-trigger"}])
def test_a_conf_that_says_less_is_valid(dag: DAG, conf: dict[str, object]) -> None:
    params = copy.deepcopy(dag.params)
    params.update(conf)
    params.validate()


def test_who_may_do_what_is_the_dags() -> None:
    # Airflow means to leave it to its auth managers some day; until then it is where they look.
    with pytest.warns(RemovedInAirflow4Warning):
        said = built(with_extension(workflow="{access_control: {Viewer: [can_read], Op: [can_read, can_edit]}}"))
    assert said.access_control == {"Viewer": {"DAGs": {"can_read"}}, "Op": {"DAGs": {"can_read", "can_edit"}}}


def test_what_the_extension_says_of_a_process_is_the_tasks() -> None:
    said = built(with_extension(process="{pool: gpus, queue: slow, priority_weight: 7, executor: LocalExecutor}"))
    task = said.get_task("exit")
    assert (task.pool, task.queue, task.priority_weight, task.executor) == ("gpus", "slow", 7, "LocalExecutor")
    assert said.get_task("splitter").pool == "default_pool"


@pytest.mark.parametrize(
    ("cron", "kind", "field", "value"),
    [
        ("0 30 6 * * MON-FRI", "CronTriggerTimetable", "expression", "30 6 * * 1-5"),
        ("30 */5 * * * ?", "CronTriggerTimetable", "expression", "*/5 * * * * 30"),
        ("@hourly", "CronTriggerTimetable", "expression", "0 * * * *"),
        ("CRON_TZ=Asia/Tokyo 0 0 6 * * *", "CronTriggerTimetable", "timezone", "Asia/Tokyo"),
        ("@every 1h30m", "DeltaTriggerTimetable", "delta", 5400.0),
    ],
)
def test_a_cron_trigger_is_the_schedule(cron: str, kind: str, field: str, value: object) -> None:
    said = built(EXAMPLE.read_text().replace("webhook_events: push", f"cron: '{cron}'"))
    timetable = DagSerialization.to_dict(said)["dag"]["timetable"]
    assert timetable["__type"].endswith(kind)
    assert timetable["__var"][field] == value


def test_a_schedule_with_seconds_is_followed_to_the_second() -> None:
    cron = "cron: '30 */5 * * * *'"
    said = built(EXAMPLE.read_text().replace("webhook_events: push", cron))
    timetable = coerce_to_core_timetable(said.timetable)
    after = pendulum.datetime(2026, 1, 1, 0, 0, 31)
    restriction = TimeRestriction(earliest=after, latest=None, catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    assert info is not None
    assert str(info.run_after) == "2026-01-01 00:05:30+00:00"


def test_the_trigger_form_asks_for_payload_and_trigger(dag: DAG) -> None:
    params = {name: dag.params.get_param(name) for name in dag.params}
    assert {name: param.value for name, param in params.items()} == {
        "payload": None,
        "trigger": "github-trigger",
        "request_id": None,
    }
    assert params["trigger"].schema["enum"] == [None, "github-trigger"]
    assert all(param.description for param in params.values())


def test_of_several_triggers_none_is_chosen_beforehand() -> None:
    limits = "{CPU: {request: 1}, memory: {request: 1M}}"
    second = f"      - {{name: second, type: trigger, image: i, resourceLimits: {limits}}}\n"
    text = EXAMPLE.read_text().replace("    processes:\n", f"    processes:\n{second}")
    trigger = built(text).params.get_param("trigger")
    assert trigger.value is None
    assert trigger.schema["enum"] == [None, "second", "github-trigger"]


def test_the_form_costs_the_tasks_nothing(dag: DAG) -> None:
    """Airflow copies what a DAG has when its tasks are made into each of them, and checks all copies again."""
    assert not any(task.params for task in dag.tasks)


def test_a_scheduled_dag_with_several_triggers_has_a_form_that_airflow_accepts() -> None:
    text = with_extension(workflow="{schedule: '@daily'}")
    built(text).validate()  # type: ignore[no-untyped-call]


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


def test_a_circle_of_streaming_processes_is_shown_without_the_edge_that_leads_back() -> None:
    assert {task.task_id: task.upstream_task_ids for task in built(STREAMING).tasks} == {
        "start": set(),
        "a": {"start"},
        "b": {"a"},
        "end": {"b"},
    }


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
