"""What processes print, in the logs of their tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.stack.krts import add_images, krt, process
from tests.stack.pipelines import RUN_SECONDS, command

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

GO_LINE = {
    "level": "warn",
    "ts": 1708945449.5,
    "logger": "[TASK]",
    "caller": "app/main.go:7",
    "msg": "slow\n[forged] line",
    "request_id": "of-go",
}


@pytest.fixture(scope="module")
def run(stack: Stack, api: AirflowApi) -> Run:
    """A run of a process that logs at every level, and of one that prints 200,000 lines."""
    say = f"printf '%s\\n' '{json.dumps(GO_LINE)}' 'plain text'; exec \"$@\""
    add_images(
        stack,
        {"test/says": ["sh", "-c", say, "sh", *command("forward")], "test/floods": command("flood")},
    )
    text = krt(
        process("start", "trigger", "none"),
        process("says", "task", "test/says", "start"),
        process("exit", "exit", "test/floods", "says"),
    )
    folder = stack.dags / "logging"
    folder.mkdir()
    (folder / "krt.yaml").write_text(text)
    api.wait_for_dag("logging.work", 60)
    return api.wait_for_run(api.start_run("logging.work", {"request_id": "mine"}), RUN_SECONDS)


def test_lines_of_the_sdks_are_readable_and_at_their_level(api: AirflowApi, run: Run) -> None:
    lines = api.log(run, "says")
    (warning,) = [line for line in lines if "slow" in line]
    assert warning.split(" ", 1)[1] == (
        "warning [request of-go] slow\n  | [forged] line  caller=app/main.go:7 "
        'logger="[TASK]" ts=2024-02-26T11:04:09.5Z'
    )
    assert any(line.endswith(" info plain text") for line in lines)
    assert any(" info [request mine] request from start  logger=says ts=" in line for line in lines)


def test_a_flood_leaves_its_first_and_last_lines_and_its_errors_and_does_not_hold_up_its_task(
    api: AirflowApi, run: Run
) -> None:
    assert run.state == "success"
    lines = api.log(run, "exit")
    assert sum(map(len, lines)) < 8 << 20
    assert any(line.endswith(" info line 0 of a flood") for line in lines)
    assert any("warning The process prints more than this log takes" in line for line in lines)
    assert any(" left out here." in line for line in lines)
    assert any(" error [request mine] in the middle of it" in line for line in lines)
