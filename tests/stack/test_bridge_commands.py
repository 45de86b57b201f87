"""The commands around the bridge, on the whole stack: what they say is true of a real Airflow and a real bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.demo.event import expected, push_event
from tests.stack.krts import add_images, install_examples, krt, process
from tests.stack.pipelines import PATIENCE, command, until

if TYPE_CHECKING:
    from pathlib import Path

    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

EXAMPLE = "github-trainer.training-workflow"
DAG = "commands.work"
SECONDS = 180


class Site:
    """The commands, given at the stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        action = 2 if words[0] == "deadletters" else 1
        home = ["--home", str(self.stack.home.path)]
        return subprocess.run(
            [sys.executable, "-m", "kai_airflow.cli", *words[:action], *home, *words[action:]],
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def said(self, *words: str) -> list[dict[str, Any]]:
        """What a command says as JSON, when it is well."""
        ran = self.run(*words, "--json")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def site(stack: Stack, api: AirflowApi) -> Site:
    install_examples(stack.dags)
    add_images(stack, {"test/forward": command("forward"), "test/refuse": command("refuse")})
    folder = stack.dags / "commands"
    folder.mkdir()
    text = krt(
        process("start", "trigger", "none"),
        process("exit", "exit", "test/forward", "start"),
    )
    (folder / "krt.yaml").write_text(text)
    for dag_id in (EXAMPLE, DAG):
        api.wait_for_dag(dag_id, 60)
    return Site(stack)


def test_a_request_that_is_sent_is_answered_with_the_result_that_it_determines(site: Site, tmp_path: Path) -> None:
    event = push_event(11)
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    ran = site.run("send", EXAMPLE, "--file", str(file), "--wait", "--timeout", str(SECONDS))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == expected(event)
    assert "its run will be kai__" in ran.stderr


def test_a_run_that_fails_is_answered_with_an_error(site: Site, stack: Stack, api: AirflowApi) -> None:
    folder = stack.dags / "refused"
    folder.mkdir()
    text = krt(process("start", "trigger", "none"), process("exit", "exit", "test/refuse", "start"))
    (folder / "krt.yaml").write_text(text)
    api.wait_for_dag("refused.work", 60)
    ran = site.run("send", "refused.work", "1", "--wait", "--timeout", str(SECONDS))
    assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
    assert "exit replies with an error: run kai__" in ran.stderr
    assert "failed: exit" in ran.stderr


def test_messages_are_each_in_one_run_and_replayed_in_one_more(site: Site, api: AirflowApi) -> None:
    for n in range(3):
        assert site.run("send", DAG, str(n), "--request-id", f"r-{n}").returncode == 0
    (audit,) = site.said("audit", DAG, "--wait", str(PATIENCE))
    assert (audit["in_runs"], audit["waiting"], audit["differences"]) == (3, 0, [])
    replayed = site.said("replay", DAG, "--seq", "1-3", "--rate", "5")
    assert [one["sequences"] for one in replayed] == ["1", "2", "3"]
    runs = {run.run_id: run for run in api.runs(DAG)}
    for one in replayed:
        run = api.wait_for_run(runs[one["run_id"]], SECONDS)
        assert run.state == "success"
    assert Counter(run_id.partition("__")[0] for run_id in runs) == {"kai": 3, "kai-replay": 3}
    (audit,) = site.said("audit", DAG)
    assert (audit["in_runs"], audit["differences"], audit["unsure"]) == (3, [], [])


def test_a_dead_letter_is_redriven_and_one_again_and_dropped_and_the_audit_knows(site: Site) -> None:
    (before,) = site.said("audit", DAG)
    stream = "commands_v1_0_0_work"
    publish = (
        "import asyncio, sys, nats\n"
        "async def main():\n"
        "    nc = await nats.connect(sys.argv[1])\n"
        "    await nc.jetstream().publish(sys.argv[2], b'\\xff')\n"
        "    await nc.close()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", publish, site.stack.nats_url, f"{stream}.start"], check=True)

    def letters() -> list[dict[str, Any]]:
        return site.said("deadletters", "list", "--dag", DAG)

    until(lambda: letters())
    (first,) = letters()
    assert "not the protobuf message" in first["reason"]
    (redriven,) = site.said("deadletters", "redrive", str(first["number"]))
    assert redriven["sequence"] > first["sequence"]
    until(lambda: [one["sequence"] for one in letters()] == [redriven["sequence"]])
    (again,) = letters()
    assert again["attempts"] > first["attempts"]
    site.said("deadletters", "drop", str(again["number"]), "--yes")
    (audit,) = site.said("audit", DAG, "--wait", str(PATIENCE))
    assert (audit["in_runs"], audit["settled"], audit["differences"]) == (before["in_runs"], 2, [])


def test_a_product_that_is_gone_is_pruned_while_the_stack_runs(site: Site, stack: Stack, api: AirflowApi) -> None:
    folder = stack.dags / "passing"
    folder.mkdir()
    text = krt(process("start", "trigger", "none"), process("exit", "exit", "test/forward", "start"))
    (folder / "krt.yaml").write_text(text)
    api.wait_for_dag("passing.work", 60)
    assert site.run("send", "passing.work", "1", "--wait", "--timeout", str(SECONDS)).returncode == 0
    assert not [one for one in site.said("prune", "--dry-run") if "passing" in one["name"]]
    (folder / "krt.yaml").unlink()
    # The bridge notices within seconds that it has nothing to serve there any more.
    until(
        lambda: [
            one for one in site.said("prune", "--dry-run") if one["name"] == "passing_v1_0_0_work" and not one["spared"]
        ]
    )
    going = {one["name"] for one in site.said("prune", "--yes") if "passing" in one["name"]}
    assert {"passing_v1_0_0_work", "RUNS_passing_work", "KV_key-store_passing"} < going
    assert not [one for one in site.said("prune", "--dry-run") if "passing" in one["name"]]
    assert site.run("send", DAG, "1", "--wait", "--timeout", str(SECONDS)).returncode == 0
