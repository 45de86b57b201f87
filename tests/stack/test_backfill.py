"""Backfills by Airflow's own command over scheduled workflows: runs at once, and apart from each other."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.demo.load.curve import expected
from kai_airflow.local.published import published
from tests.stack.krts import add_images, install_examples, krt, process
from tests.stack.pipelines import command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.local.airflow_api import AirflowApi, Run
    from kai_airflow.local.stack import Stack

DAG = "energy-forecast.daily"
OTHER = "hourly.work"
FIRST = date(2025, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(5)]
AT_ONCE = 3
RUN_SECONDS = 240
CLOSED_SECONDS = 120
TASKS = ("midnight", "readings", "cleaning", "forecast", "report")


@dataclass(frozen=True)
class Backfills:
    """The ended runs of two DAGs' backfills that were asked for at the same time, by their logical dates."""

    stack: Stack
    api: AirflowApi
    days: Mapping[date, Run]
    hours: Mapping[datetime, Run]

    def results(self, run: Run, task: str) -> list[Any]:
        return asyncio.run(published(self.stack.nats_url, self.api.xcom(run, task, "manifest")))

    def span(self, run: Run) -> tuple[datetime, datetime]:
        """When its first task began and its last one ended."""
        spans = [
            (start := datetime.fromisoformat(task.start), start + timedelta(seconds=task.duration))
            for task in self.api.tasks(run)
            if task.start and task.duration is not None
        ]
        return min(start for start, _ in spans), max(end for _, end in spans)


def backfill(stack: Stack, dag_id: str, since: str, until: str, *options: str) -> None:
    """The command of the documentation, in the stack's environment; again while the last one isn't closed yet."""
    airflow = Path(sysconfig.get_path("scripts")) / "airflow"
    words = [str(airflow), "backfill", "create", "--dag-id", dag_id, "--from-date", since, "--to-date", until, *options]
    deadline = time.monotonic() + CLOSED_SECONDS
    while True:
        done = subprocess.run(words, env=stack.environment, capture_output=True, text=True, check=False)
        if "AlreadyRunningBackfill" not in done.stderr or time.monotonic() > deadline:
            break
    assert done.returncode == 0, done.stdout + done.stderr


def backfilled(api: AirflowApi, dag_id: str) -> dict[datetime, Run]:
    """Its runs, as they ended."""
    runs = [run for run in api.runs(dag_id) if run.run_id.startswith("backfill__")]
    return {
        datetime.fromisoformat(run.run_id.removeprefix("backfill__")): api.wait_for_run(run, RUN_SECONDS)
        for run in runs
    }


@pytest.fixture(scope="module")
def backfills(stack: Stack, api: AirflowApi) -> Backfills:
    install_examples(stack.dags)
    add_images(stack, {"test/forward": command("forward")})
    hourly = krt(process("start", "trigger", "none"), process("exit", "exit", "test/forward", "start")).replace(
        "    type: training\n", '    type: training\n    x-airflow: {schedule: "0 * * * *"}\n'
    )
    (stack.dags / "hourly").mkdir()
    (stack.dags / "hourly" / "krt.yaml").write_text(hourly)
    for dag_id in (DAG, OTHER):
        api.wait_for_dag(dag_id, 60)
    with ThreadPoolExecutor() as both:
        days = both.submit(backfill, stack, DAG, str(DAYS[0]), str(DAYS[-1]), "--max-active-runs", str(AT_ONCE))
        hours = both.submit(backfill, stack, OTHER, "2025-03-01T00:00", "2025-03-01T02:00")
    days.result()
    hours.result()
    of_days = {moment.date(): run for moment, run in backfilled(api, DAG).items()}
    return Backfills(stack, api, of_days, backfilled(api, OTHER))


def test_each_day_has_a_run_that_publishes_its_own_days_result(backfills: Backfills) -> None:
    assert sorted(backfills.days) == DAYS
    for day, run in backfills.days.items():
        states = {task.task_id: task.state for task in backfills.api.tasks(run)}
        assert (run.state, states) == ("success", dict.fromkeys(TASKS, "success"))
        # What is due at the beginning of a day is about the day before.
        assert backfills.results(run, "report") == [expected(day - timedelta(days=1))]


def test_each_run_is_asked_as_by_kais_cron_trigger_with_the_time_that_it_is_for(backfills: Backfills) -> None:
    (asked,) = backfills.results(backfills.days[FIRST], "midnight")
    assert asked == {
        "data_interval_start": "2025-03-01T00:00:00+00:00",
        "data_interval_end": "2025-03-01T00:00:00+00:00",
        "logical_date": "2025-03-01T00:00:00+00:00",
        "message": "forecast the next day",
        "time": "Sat Mar 1 00:00:00 UTC 2025",
    }


def test_a_trigger_that_keeps_no_time_is_asked_for_its_interval_alone(backfills: Backfills) -> None:
    assert len(backfills.hours) == 3
    for hour, run in backfills.hours.items():
        (answer,) = backfills.results(run, "exit")
        moments = dict.fromkeys(("data_interval_start", "data_interval_end", "logical_date"), hour.isoformat())
        assert answer == moments


def test_runs_are_at_work_at_once_though_never_more_than_asked_for(backfills: Backfills) -> None:
    days = [backfills.span(run) for run in backfills.days.values()]
    hours = [backfills.span(run) for run in backfills.hours.values()]
    assert 1 < max(at_once(days)) <= AT_ONCE
    # No DAG waits for the other one's runs.
    assert min(start for start, _ in hours) < max(end for _, end in days)
    assert min(start for start, _ in days) < max(end for _, end in hours)


def at_once(spans: list[tuple[datetime, datetime]]) -> list[int]:
    """How many last at the beginning of each."""
    return [sum(start <= moment < end for start, end in spans) for moment, _ in spans]


def test_no_two_runs_share_a_request_id(backfills: Backfills) -> None:
    runs = [*backfills.days.items(), *backfills.hours.items()]
    triggers = ["midnight"] * len(backfills.days) + ["start"] * len(backfills.hours)
    logs = ["\n".join(backfills.api.log(run, task)) for (_, run), task in zip(runs, triggers, strict=True)]
    assert len({log.split(" request ")[1].split(" is message ")[0] for log in logs}) == len(runs)


def test_a_second_backfill_repeats_only_what_it_is_told_to(backfills: Backfills) -> None:
    stack, api = backfills.stack, backfills.api
    backfill(stack, DAG, str(DAYS[0]), str(DAYS[1]))
    backfill(stack, OTHER, "2025-03-01T01:00", "2025-03-01T02:00", "--reprocess-behavior", "completed")
    days, hours = backfilled(api, DAG), backfilled(api, OTHER)
    assert {run.state for run in [*days.values(), *hours.values()]} == {"success"}
    assert [tries(api, run) for run in days.values()] == [1] * len(DAYS)
    assert {moment.hour: tries(api, run) for moment, run in hours.items()} == {0: 1, 1: 2, 2: 2}
    for moment, run in hours.items():
        assert backfills.results(run, "start") == backfills.results(run, "exit")
        assert backfills.results(run, "exit")[0]["logical_date"] == moment.isoformat()


def tries(api: AirflowApi, run: Run) -> int:
    """How often its tasks ran."""
    (count,) = {task.try_number for task in api.tasks(run)}
    return count
