"""Runs on the whole stack: real scheduler, real nats-server, real processes in pods."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config

from kai_airflow.demo.event import expected, push_event
from kai_airflow.local.published import published
from tests.stack.krts import add_images, install_examples, krt, process

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

EXAMPLE = "github-trainer.training-workflow"
RUN_SECONDS = 120
TEMPLATE = "{{ var.value.x }} {% raise %} {# gone #}"


def command(name: str) -> list[str]:
    """One of the processes beside this file."""
    return [sys.executable, "-u", str(Path(__file__).with_name("processes.py")), name]


@pytest.fixture(scope="module", autouse=True)
def _dags(stack: Stack, api: AirflowApi) -> None:
    install_examples(stack.dags)
    api.wait_for_dag(EXAMPLE, 60)
    add_images(
        stack,
        {
            "test/echo": command("echo"),
            "test/refuse": command("refuse"),
            "test/forward": command("forward"),
            "test/flip": command("flip"),
            "test/plain": ["sh", "-c", "echo I speak no NATS; sleep 600"],
        },
    )


def drop(stack: Stack, api: AirflowApi, product: str, text: str) -> str:
    """Put a KRT into the dags folder and wait for its DAG."""
    folder = stack.dags / product
    folder.mkdir()
    (folder / "krt.yaml").write_text(text)
    api.wait_for_dag(f"{product}.work", 30)
    return f"{product}.work"


def ended(api: AirflowApi, dag_id: str, payload: Any) -> tuple[Run, dict[str, str | None]]:
    """Start a run with this payload; it as it ended, and its tasks' states."""
    run = api.wait_for_run(api.start_run(dag_id, {"payload": payload}), RUN_SECONDS)
    return run, {task.task_id: task.state for task in api.tasks(run)}


def results(stack: Stack, api: AirflowApi, run: Run, task: str = "exit") -> list[Any]:
    """What a task published."""
    return asyncio.run(published(stack.nats_url, api.xcom(run, task, "manifest")))


def log(api: AirflowApi, run: Run, task: str) -> str:
    return "\n".join(api.log(run, task))


def pods_of(stack: Stack, process_name: str) -> set[str]:
    """The pods that Kubernetes has ever started for a process, by its own account."""
    with client.ApiClient(config.new_client_from_config(str(stack.kubeconfig)).configuration) as kubernetes:
        events = client.CoreV1Api(kubernetes).list_namespaced_event("default").items
    names = {event.involved_object.name for event in events if event.reason == "Started"}
    return {name for name in names if name.startswith(f"{process_name}-")}


def test_the_example_runs_to_the_result_that_its_payload_determines(stack: Stack, api: AirflowApi) -> None:
    event = push_event(7)
    run, states = ended(api, EXAMPLE, event)
    assert states == dict.fromkeys(
        ("github-trigger", "splitter", "training-go", "training-py", "validation", "exit"), "success"
    )
    assert results(stack, api, run) == [expected(event)]


def test_a_channel_on_which_nothing_was_published_skips_its_task_without_a_pod(stack: Stack, api: AirflowApi) -> None:
    event = push_event(8)
    for commit in event["body"]["commits"]:
        for kind in ("added", "modified"):
            commit[kind] = [file for file in commit[kind] if not file.endswith(".go")]
    before = pods_of(stack, "training-go"), pods_of(stack, "training-py")
    run, states = ended(api, EXAMPLE, event)
    after = pods_of(stack, "training-go"), pods_of(stack, "training-py")
    assert states.pop("training-go") == "skipped"
    assert set(states.values()) == {"success"}
    assert results(stack, api, run) == [expected(event)]
    assert after[0] == before[0]
    assert len(after[1] - before[1]) == 1


def test_an_error_message_fails_its_task_with_text_and_request_id_in_the_log(stack: Stack, api: AirflowApi) -> None:
    text = krt(
        process("start", "trigger", "none"),
        process("bad", "task", "test/refuse", "start"),
        process("exit", "exit", "test/echo", "bad"),
    )
    dag_id = drop(stack, api, "refusal", text)
    started = api.start_run(dag_id, {"payload": "this", "request_id": "my-request"})
    run = api.wait_for_run(started, RUN_SECONDS)
    assert {task.task_id: task.state for task in api.tasks(run)} == {
        "start": "success",
        "bad": "failed",
        "exit": "upstream_failed",
    }
    said = log(api, run, "bad")
    assert "request my-request: cannot work on this" in said
    manifest = api.xcom(run, "bad", "manifest")
    assert (manifest["good"], manifest["bad"], manifest["channels"]) == (0, 1, {})


def test_an_image_that_never_subscribes_fails_at_start_timeout_with_its_last_lines(
    stack: Stack, api: AirflowApi
) -> None:
    text = krt(
        process("start", "trigger", "none"),
        process("exit", "exit", "test/plain", "start", more=", x-airflow: {start_timeout: 2}"),
    )
    run, states = ended(api, drop(stack, api, "silent", text), None)
    assert states["exit"] == "failed"
    said = log(api, run, "exit")
    assert "didn't subscribe within 2 s (start_timeout)" in said
    assert "Its last lines:\n  I speak no NATS" in said


def test_what_a_krt_says_is_never_rendered(stack: Stack, api: AirflowApi) -> None:
    """P4: in every field that takes any text, a template arrives as that very text."""
    quoted = json.dumps(TEMPLATE)
    pod = f"{{metadata: {{annotations: {{a: {quoted}}}}}}}"
    add_images(stack, {"test/echo:v1": command("echo")})
    text = krt(
        process("start", "trigger", "test/echo:v1", more=f", config: {{a: {quoted}}}"),
        process("exit", "exit", "test/echo:v1", "start", more=f", config: {{a: {quoted}}}, x-airflow: {{pod: {pod}}}"),
        description=TEMPLATE,
        more=f"config: {{v: {quoted}}}",
    ).replace("    type: training\n", f"    type: training\n    config: {{w: {quoted}}}\n")
    run, states = ended(api, drop(stack, api, "templates", text), {"p": TEMPLATE})
    assert set(states.values()) == {"success"}
    assert results(stack, api, run) == [
        {
            "config": {"a": TEMPLATE},
            "buckets": {"product": {"v": TEMPLATE}, "workflow": {"w": TEMPLATE}, "process": {"a": TEMPLATE}},
            "payload": {"p": TEMPLATE},
        }
    ]


def test_a_cleared_run_repeats_its_request_and_feeds_nothing_of_before(stack: Stack, api: AirflowApi) -> None:
    """``flip`` publishes on another channel each time, so what ran before is skipped after the clear."""
    text = krt(
        process("start", "trigger", "none"),
        process("flip", "task", "test/flip", "start"),
        process("left", "task", "test/forward", "flip.left"),
        process("right", "task", "test/forward", "flip.right"),
        process("exit", "exit", "test/forward", "left", "right"),
    )
    run, states = ended(api, drop(stack, api, "flipping", text), "same")
    assert (states["left"], states["right"], states["exit"]) == ("success", "skipped", "success")
    (first,) = results(stack, api, run, "flip")
    api.clear(run)
    assert api.wait_for_run(run, RUN_SECONDS).state == "success"
    states = {task.task_id: task.state for task in api.tasks(run)}
    assert (states["left"], states["right"], states["exit"]) == ("skipped", "success", "success")
    assert results(stack, api, run, "flip") == [first]
    assert api.xcom(run, "exit", "manifest")["fed"] == 1


def test_the_lines_of_a_process_are_in_its_tasks_log_and_no_secret_is(stack: Stack, api: AirflowApi) -> None:
    run, _ = ended(api, EXAMPLE, push_event(9))
    said = log(api, run, "splitter")
    assert "go files" in said
    password = stack.nats_url.split("@")[0].rsplit(":", 1)[1]
    logs = "\n".join(log(api, run, task.task_id) for task in api.tasks(run))
    assert password not in logs


def test_a_conf_that_cannot_be_followed_fails_at_once_and_says_what_to_write(stack: Stack, api: AirflowApi) -> None:
    run = api.wait_for_run(api.start_run(EXAMPLE, {"event": {}}), RUN_SECONDS)
    assert run.state == "failed"
    assert "unknown key 'event'. Remedy: put the data under 'payload'" in log(api, run, "github-trigger")
