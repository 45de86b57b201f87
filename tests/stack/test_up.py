"""`kai-airflow up`: however it ends, nothing of it is left."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.conftest import StartUp

PARTS = (
    "nats-server",
    "postgresql",
    "kubernetes",
    "airflow-db",
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
)


def test_ctrl_c_ends_a_healthy_stack_and_every_process_of_it(start_up: StartUp, tmp_path: Path) -> None:
    foreign = tmp_path / "airflow-of-the-caller"
    up = start_up(AIRFLOW_HOME=str(foreign), AIRFLOW__API__PORT="1", VIRTUAL_ENV="/another")
    up.wait_for("Ctrl-C")
    for part in PARTS:
        assert f"{part} ready (" in up.text
    assert f"http://127.0.0.1:{up.port}\n" in up.text
    assert httpx.get(f"http://127.0.0.1:{up.port}/", trust_env=False).is_success
    assert len(up.family()) > 20  # guards, parts, what the parts forked
    up.send(signal.SIGINT)
    assert up.code() == 0
    assert up.left() == {}
    assert up.lines[-1] == "stopping\n"
    assert not foreign.exists()


def test_nothing_survives_when_up_itself_is_killed(start_up: StartUp) -> None:
    up = start_up()
    up.wait_for("Ctrl-C")
    up.send(signal.SIGKILL)
    assert up.code() == -signal.SIGKILL
    assert up.left() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_stack_that_is_still_starting(start_up: StartUp, number: signal.Signals) -> None:
    up = start_up()
    up.wait_for("postgresql ready")
    up.send(number)
    assert up.code() == 0
    assert "scheduler ready" not in up.text
    assert up.left() == {}


def test_a_guard_that_is_killed_ends_a_stack_that_is_still_starting(start_up: StartUp) -> None:
    """Its part dies with it, and the part's children fall to ``up``, which ends them."""
    up = start_up()
    up.wait_for("postgresql ready")
    up.send(signal.SIGKILL, to=up.guard_of("listen_addresses=127.0.0.1"))
    assert up.code() == 1
    assert "postgresql ended with exit code 137 (SIGKILL)." in up.text
    assert up.left() == {}


def test_a_home_of_a_killed_stack_can_be_used_at_once(start_up: StartUp) -> None:
    first = start_up()
    first.wait_for("airflow-db ready")
    first.send(signal.SIGKILL)
    first.code()
    second = start_up()
    assert "ready" in second.wait_for("postgresql")
    assert "airflow-db" not in second.wait_for("kubernetes")
    second.send(signal.SIGTERM)
    assert second.code() == 0
