"""What a KRT says of its DAGs, in a running Airflow and its database."""

from __future__ import annotations

import json
from datetime import datetime
from datetime import time as clock
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.stack.krts import add_images, krt, problem, process, until
from tests.stack.pipelines import command

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

SOON = 30.0  # seconds; two passes of the dag-processor over a file
SIMPLE = krt(process("start", "trigger", "none"), process("exit", "exit", "test/forward", "start"))
WHOLE = krt(
    process("clock", "trigger", "none", more=", config: {cron: '30 0 6 * * MON-FRI', message: wake up}"),
    process("web", "trigger", "none", "exit"),
    process("left", "task", "test/forward", "clock", more=", x-airflow: {priority_weight: 7, pool: default_pool}"),
    process("right", "task", "test/forward", "web"),
    process("exit", "exit", "test/forward", "left", "right"),
    more="x-airflow: {owner: ml-team, tags: [zoo, bar, animals], version_in_dag_id: true}",
    description="<b>bold</b> | {{ var.value.x }}",
).replace("type: training\n", "type: training\n    x-airflow: {timezone: Europe/Madrid, max_active_runs: 3}\n")
WHOLE_ID = "whole.work.v1.0.0"


def put(stack: Stack, path: str, text: str) -> None:
    """Drop a file into the dags folder."""
    (stack.dags / path).parent.mkdir(parents=True, exist_ok=True)
    (stack.dags / path).write_text(text)


def details(api: AirflowApi, dag_id: str) -> dict[str, Any]:
    return api._ask("GET", f"/api/v2/dags/{dag_id}/details")


@pytest.fixture(scope="module", autouse=True)
def _images(stack: Stack) -> None:
    add_images(stack, {"test/forward": command("forward")})


@pytest.fixture(scope="module")
def whole(stack: Stack, api: AirflowApi) -> dict[str, Any]:
    put(stack, "whole/krt.yaml", WHOLE)
    api.wait_for_dag(WHOLE_ID, 60)
    return details(api, WHOLE_ID)


def test_a_dag_shows_all_that_its_krt_says(whole: dict[str, Any]) -> None:
    assert whole["owners"] == ["ml-team"]
    assert {tag["name"] for tag in whole["tags"]} >= {"zoo", "bar", "animals", "version:v1.0.0"}
    assert whole["max_active_runs"] == 3
    assert whole["timetable_summary"] == "0 6 * * 1-5 30"
    due = datetime.fromisoformat(whole["next_dagrun_run_after"]).astimezone(ZoneInfo("Europe/Madrid"))
    assert due.time() == clock(6, 0, 30)
    assert whole["description"] == "<b>bold</b> | {{ var.value.x }}"
    assert "flowchart LR" in whole["doc_md"]
    assert {name: param["value"] for name, param in whole["params"].items()} == {
        "payload": None,
        "trigger": None,
        "request_id": None,
    }


def test_parsed_again_and_again_it_stays_one_version(api: AirflowApi, whole: dict[str, Any]) -> None:
    assert whole["latest_dag_version"]["version_number"] == 1
    for _ in range(10):
        before = api.last_parsed(WHOLE_ID)
        api.parse_again(WHOLE_ID)
        until(lambda before=before: api.last_parsed(WHOLE_ID) != before, 60)  # type: ignore[misc]
    assert api.dag_versions(WHOLE_ID) == [1]


def test_a_trigger_without_a_request_is_skipped_and_so_is_what_hears_it_alone(
    api: AirflowApi, whole: dict[str, Any]
) -> None:
    assert whole
    run = api.start_run(WHOLE_ID, {"payload": {"n": 1}, "trigger": "web", "request_id": None})
    assert api.wait_for_run(run, 60).state == "success"
    assert {task.task_id: task.state for task in api.tasks(run)} == {
        "clock": "skipped",
        "left": "skipped",
        "web": "success",
        "right": "success",
        "exit": "success",
    }


def test_a_dag_id_that_another_file_has_is_an_error_that_names_both_and_hides_neither_dag(
    stack: Stack, api: AirflowApi
) -> None:
    put(stack, "first/krt.yaml", SIMPLE)
    api.wait_for_dag("first.work", 60)
    put(stack, "copy/krt.yaml", SIMPLE.replace("workflows:", "x-airflow: {product: first}\nworkflows:"))
    until(lambda: problem(api, "copy/krt.yaml") != "", SOON)
    assert "copy/krt.yaml: its DAG id 'first.work' is that of first/krt.yaml, too." in problem(api, "copy/krt.yaml")
    before = api.last_parsed("first.work")
    api.parse_again("first.work")
    until(lambda: api.last_parsed("first.work") != before, SOON)
    assert not problem(api, "first/krt.yaml")
    (stack.dags / "first/krt.yaml").unlink()
    until(lambda: not problem(api, "copy/krt.yaml"), 90)
    assert api.has_dag("first.work")


def test_two_versions_of_a_product_stand_side_by_side(stack: Stack, api: AirflowApi) -> None:
    versioned = SIMPLE.replace("workflows:", "x-airflow: {product: twice, version_in_dag_id: true}\nworkflows:")
    put(stack, "twice-1/krt.yaml", versioned)
    put(stack, "twice-2/krt.yaml", versioned.replace("version: v1.0.0", "version: v2.0.0"))
    until(lambda: api.has_dag("twice.work.v1.0.0") and api.has_dag("twice.work.v2.0.0"), SOON)


def test_three_lines_of_python_are_the_dags_of_a_krt(stack: Stack, api: AirflowApi) -> None:
    """The folder is hidden, so that the bundle doesn't see the KRT as well."""
    put(stack, ".hidden/own.krt.yaml", SIMPLE)
    put(stack, "own.py", "# an Airflow DAG\nfrom kai_airflow import load_krt\n\nload_krt('.hidden/own.krt.yaml')\n")
    api.wait_for_dag("own.work", 60)
    run = api.start_run("own.work", {"payload": 1})
    assert api.wait_for_run(run, 60).state == "success", json.dumps(api.log(run, "start"))
