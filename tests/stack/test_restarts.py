"""One home in the course of its life: its parts are killed, its `up` is stopped, killed, started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from kai_airflow.demo.event import expected, push_event
from kai_airflow.local import guard, nats, remains
from kai_airflow.local.published import published
from tests.stack.conftest import COMMAND, command, starting
from tests.stack.krts import install_examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack
    from tests.stack.conftest import StartUp, Up

# Words on the command line of each part's guard.
PARTS = {
    "nats-server": "nats-server.conf",
    "postgresql": "listen_addresses=127.0.0.1",
    "kubernetes": "kai_airflow.local.kubernetes",
    "api-server": "airflow api-server",
    "scheduler": "airflow scheduler",
    "dag-processor": "airflow dag-processor",
    "triggerer": "airflow triggerer",
    "sweeper": "kai_airflow.cli sweep",
    "bridge": "kai_airflow.cli bridge",
}
EXAMPLE = "github-trainer.training-workflow"
EVENT = push_event(11)
SECONDS = 240  # for a run, or a DAG to be there; a busy machine needs a minute


class Life:
    """A home, the `up` that runs there now, and a run that its first one made."""

    def __init__(self, folder: Path, start: StartUp) -> None:
        self._folder, self._start = folder, start
        install_examples(folder / "dags")
        self.begin()
        self.run: Run

    def begin(self) -> None:
        self.up: Up = self._start()
        self.up.wait_for("Ctrl-C")

    @property
    def log(self) -> Path:
        return self.up.home / "logs"


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    with starting(folder) as start:
        yield Life(folder, start)


def started(api: AirflowApi) -> Run:
    api.wait_for_dag(EXAMPLE, SECONDS)
    return api.start_run(EXAMPLE, {"payload": EVENT})


def results(up: Up, api: AirflowApi, run: Run) -> list[Any]:
    """What the exit of a run published, from NATS as it is now."""
    config = json.loads((up.home / "nats" / "nats-server.conf").read_text())
    url = nats.url(config["port"], config["authorization"]["password"])
    return asyncio.run(published(url, api.xcom(run, "exit", "manifest")))


def asked(kubeconfig: dict[str, Any]) -> int:
    """The status by which Kubernetes answers a client that has this configuration."""
    server, token = kubeconfig["clusters"][0]["cluster"]["server"], kubeconfig["users"][0]["user"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{server}/api/v1/namespaces/default/pods", headers=headers, trust_env=False).status_code


def restarted(up: Up, part: str, kill: int) -> None:
    """Kill a process, and wait until its part is well again. Others may have ended meanwhile."""
    seen = len(up.lines)
    up.send(signal.SIGKILL, to=kill)
    assert up.wait_for(f"{part} ended", seen) == f"{part} ended with exit code 137 (SIGKILL), restarting\n"
    up.wait_for(f"{part} ready again (", seen)


# PostgreSQL last: Airflow's parts may end of its absence, then or seconds later.
@pytest.mark.parametrize("part", [part for part in PARTS if part != "postgresql"])
def test_a_part_that_is_killed_comes_back_and_its_log_goes_on(life: Life, part: str) -> None:
    before, kubeconfig = (life.log / f"{part}.log").read_text(), life.up.home / "kubernetes" / "kubeconfig"
    loaded = yaml.safe_load(kubeconfig.read_text())
    old = guard.descendants(life.up.guard_of(PARTS[part]))
    restarted(life.up, part, old[0])
    assert not [process for process in old if command(process)]
    after = (life.log / f"{part}.log").read_text()
    assert after.startswith(before)
    assert f"kai-airflow: {part} ended with exit code 137 (SIGKILL), restarted\n" in after
    assert asked(loaded) == 200


def test_the_scheduler_whose_guard_is_killed_comes_back_and_its_workers_are_not_doubled(life: Life) -> None:
    killed = life.up.guard_of(PARTS["scheduler"])
    old = guard.descendants(killed)
    restarted(life.up, "scheduler", killed)
    assert not [process for process in old if command(process)]
    new = life.up.guard_of(PARTS["scheduler"])
    assert remains.processes(life.log / "scheduler.log") <= {new, *guard.descendants(new)}


@pytest.mark.parametrize("whose", ["its own", "its guard"])
def test_postgresql_comes_back_whichever_process_of_it_is_killed(life: Life, whose: str) -> None:
    killed = life.up.guard_of(PARTS["postgresql"])
    old = guard.descendants(killed)
    restarted(life.up, "postgresql", killed if whose == "its guard" else old[0])
    assert not [process for process in old if command(process)]


def test_then_the_example_still_runs_and_so_it_does_in_another_home_beside(
    life: Life, stack: Stack, api: AirflowApi
) -> None:
    install_examples(stack.dags)
    with life.up.api() as own:
        life.run, beside = started(own), started(api)
        assert own.wait_for_run(life.run, SECONDS).state == "success"
        assert api.wait_for_run(beside, SECONDS).state == "success"
        assert results(life.up, own, life.run) == [expected(EVENT)]
        assert beside not in own.runs(EXAMPLE)
    assert asyncio.run(published(stack.nats_url, api.xcom(beside, "exit", "manifest"))) == [expected(EVENT)]


def test_down_in_another_terminal_ends_it_all(life: Life) -> None:
    life.up.family()
    done = subprocess.run(
        [*COMMAND, "down", "--home", life.up.home], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.splitlines()[-1] == f"stopped the stack in {life.up.home}"
    assert {process: line for process in life.up.seen if (line := command(process))} == {}
    assert life.up.code() == 0


def test_a_second_up_has_the_runs_and_messages_of_the_first(life: Life) -> None:
    life.begin()
    with life.up.api() as api:
        assert api.run(EXAMPLE, life.run.run_id).state == "success"
        assert results(life.up, api, life.run) == [expected(EVENT)]


def test_one_whose_up_and_guards_were_killed_at_once_is_continued_as_well(life: Life) -> None:
    """Processes of the scheduler outlive that; the next ``up`` ends them."""
    family = life.up.family()
    guards = [process for process, line in family.items() if guard.__file__ in line]
    os.kill(life.up.process.pid, signal.SIGKILL)
    for process in guards:
        os.kill(process, signal.SIGKILL)
    killed = life.up
    life.begin()
    assert killed.code() == -signal.SIGKILL
    assert [process for process in family if command(process)] == []
    with life.up.api() as api:
        assert api.run(EXAMPLE, life.run.run_id).state == "success"
        assert api.wait_for_run(started(api), SECONDS).state == "success"


def test_a_part_that_keeps_dying_ends_the_stack_and_is_named(life: Life) -> None:
    for _ in range(2):
        restarted(life.up, "nats-server", guard.descendants(life.up.guard_of(PARTS["nats-server"]))[0])
    life.up.send(signal.SIGKILL, to=guard.descendants(life.up.guard_of(PARTS["nats-server"]))[0])
    assert life.up.code() == 1
    assert "kai-airflow: nats-server ended with exit code 137 (SIGKILL), 3 times within a minute." in life.up.text
    last = (life.log / "nats-server.log").read_text().splitlines()[-5:]
    assert "\n".join(last) in life.up.text
    assert life.up.left() == {}
