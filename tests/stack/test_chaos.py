"""Something is killed every second, at random: each good result is at the exit once all the same.

KAI_AIRFLOW_CHAOS says how many seeds; `make chaos` takes twenty.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import guard
from tests.stack.conftest import command
from tests.stack.pipelines import Pipeline, add_processes

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

SEEDS = int(os.environ.get("KAI_AIRFLOW_CHAOS", "1"))
KILLS = 20
RUN_SECONDS = 600
RETRIES = "{retries: 100, retry_delay: 0}"

# Words on the command lines of what can die: the process, its worker, nats-server, the local Kubernetes API, Airflow.
VICTIMS = (
    "processes.py ",
    "airflow worker -- ",
    "nats-server --config",
    "kai_airflow.local.kubernetes ",
    "airflow api_server",
    "airflow scheduler",
    "airflow triggerer",
)

pytestmark = pytest.mark.timeout(RUN_SECONDS + 200)


def kill_one(chance: random.Random) -> str:
    """kill -9 of something of a random kind, where there is one."""
    words = chance.choice(VICTIMS)
    lines = {process: command(process) for process in guard.descendants(os.getpid())}
    found = [p for p, line in lines.items() if words in line and guard.__file__ not in line and "<idle>" not in line]
    if found:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(found), signal.SIGKILL)
    return words if found else f"no {words}"


@pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_good_result_is_at_the_exit_once_whatever_is_killed(
    stack: Stack, api: AirflowApi, seed: int, *, deferrable: bool
) -> None:
    add_processes(stack)
    extension = RETRIES.replace("}", f", deferrable: {str(deferrable).lower()}}}")
    product = f"chaos-{seed}-{'deferred' if deferrable else 'waiting'}"
    pipe = Pipeline(stack, api, product, settings={"delay": "0.05"}, retries=extension, extension=extension).install()
    run = pipe.start()
    chance, killed = random.Random(seed), []
    for _ in range(KILLS):
        time.sleep(1)  # the rate of the kills
        killed.append(kill_one(chance))
    run = pipe.end(run, RUN_SECONDS)
    assert run.state == "success", (killed, api.tasks(run))
    pipe.assert_each_once(run)
