"""The stack itself, and the client of its Airflow's API, with an ordinary Python DAG."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import guard
from kai_airflow.local.airflow_api import AirflowApi, AirflowApiError
from kai_airflow.local.errors import StackError
from kai_airflow.messaging.connection import connect
from tests.stack.conftest import COMMAND, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.local.stack import Stack

DAG = "plain"
SOURCE = """
from airflow.sdk import dag, task

@dag(schedule=None)
def plain():
    @task
    def give(params=None):
        print("giving", flush=True)
        return {"given": [1, 2]}

    @task
    def refuse():
        raise ValueError("no thanks")

    give() >> refuse()

plain()
"""
LOCAL = {f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"}


@pytest.fixture(scope="module", autouse=True)
def _dag(stack: Stack, api: AirflowApi) -> Iterator[None]:
    file = stack.dags / "plain.py"
    file.write_text(SOURCE)
    api.wait_for_dag(DAG, 10)
    yield
    file.unlink()


def test_a_python_file_dropped_in_is_a_dag_that_runs(stack: Stack, api: AirflowApi) -> None:
    seen: list[str | None] = []
    started = api.start_run(DAG, {"any": "conf"}, run_id="one+run:1.0")
    run = api.wait_for_run(started, 120, lambda tasks: seen.extend(task.state for task in tasks))
    assert (run.run_id, run.state) == ("one+run:1.0", "failed")
    tasks = {task.task_id: task for task in api.tasks(run)}
    assert {name: task.state for name, task in tasks.items()} == {"give": "success", "refuse": "failed"}
    assert tasks["give"].duration is not None
    assert tasks["give"].start is not None
    assert {None, "success", "failed"} <= set(seen)
    assert api.xcom(run, "give", "return_value") == {"given": [1, 2]}
    assert api.xcom(run, "give", "nothing of this name") is None
    assert any(line.endswith("info giving") for line in api.log(run, "give"))
    assert "ValueError: no thanks" in "\n".join(api.log(run, "refuse"))
    assert run in api.runs(DAG)
    assert api.dag_versions(DAG) == [1]


def test_a_run_that_does_not_end_in_time_is_told_with_its_tasks(api: AirflowApi) -> None:
    started = api.start_run(DAG)
    with pytest.raises(StackError, match=r"hasn't ended after 0 s: .*give"):
        api.wait_for_run(started, 0)
    api.wait_for_run(started, 120)


def test_a_dag_that_does_not_come_is_told_with_what_airflow_could_not_import(stack: Stack, api: AirflowApi) -> None:
    broken = stack.dags / "broken.py"
    broken.write_text("from airflow.sdk import dag\nraise ValueError('airflow dag gone wrong')")
    try:
        with pytest.raises(StackError, match=r"(?s)no DAG absent after 10 s.*broken\.py: .*gone wrong"):
            api.wait_for_dag("absent", 10)
    finally:
        broken.unlink()


def test_what_airflow_refuses_is_told_with_its_status(stack: Stack, api: AirflowApi) -> None:
    with pytest.raises(AirflowApiError, match="POST /api/v2/dags/absent/dagRuns: 404") as caught:
        api.start_run("absent")
    assert caught.value.status == 404
    with (
        pytest.raises(AirflowApiError, match="POST /auth/token: 401"),
        AirflowApi(stack.url, stack.user, "not the password"),
    ):
        pass


def test_nobody_there_is_told() -> None:
    with (
        pytest.raises(AirflowApiError, match="POST /auth/token: ConnectError"),
        AirflowApi("http://127.0.0.1:1", "admin", "x"),
    ):
        pass


async def test_nats_has_jetstream_for_who_knows_the_password(stack: Stack) -> None:
    async with connect(stack.nats_url, name="test") as connection:
        assert (await connection.js.account_info()).streams >= 0


def test_nats_refuses_who_does_not(stack: Stack) -> None:
    port = int(stack.nats_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"CONNECT {}\r\nPING\r\n")
        with client.makefile() as said:
            lines = list(said)
    assert lines[0].startswith("INFO ")
    assert lines[1:] == ["-ERR 'Authorization Violation'\n"]


def test_an_airflow_command_works_in_its_environment(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()  # is not the package
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "airflow", "dags", "list", "--output", "json"],
        env=stack.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert DAG in {one["dag_id"] for one in json.loads(ran.stdout[ran.stdout.index("[{") :])}


def test_all_that_listens_listens_on_this_machine_alone(stack: Stack) -> None:
    inodes = {inode for process in guard.descendants(os.getpid()) for inode in sockets(process)}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    lines += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [line[1].split(":") for line in lines if line[3] == "0A" and line[9] in inodes]
    assert {address for address, _ in listening} == LOCAL
    assert stack.port in {int(port, 16) for _, port in listening}
    assert len(listening) >= 4  # NATS, PostgreSQL, Kubernetes, Airflow


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack) -> None:
    secrets = set(json.loads((stack.home.path / "secrets.json").read_text()).values())
    lines = [command(process) for process in guard.descendants(os.getpid())]
    assert len(lines) > 10
    texts = [*lines, *(log.read_text() for log in stack.home.logs.iterdir())]
    assert not [secret for secret in secrets for text in texts if secret in text]


def test_what_holds_secrets_is_for_the_owner_alone(stack: Stack) -> None:
    secrets = set(json.loads((stack.home.path / "secrets.json").read_text()).values())
    holders = [file for file in files(stack.home.path) if secrets & set(words(file))]
    assert {"secrets.json", "nats-server.conf", "passwords.json"} <= {file.name for file in holders}
    assert {file: oct(file.stat().st_mode & 0o077) for file in holders} == dict.fromkeys(holders, "0o0")
    assert stack.home.path.stat().st_mode & 0o777 == 0o700


def test_a_second_stack_in_its_home_is_refused(stack: Stack) -> None:
    second = subprocess.run(
        [*COMMAND, "up", "--dags", stack.dags, "--home", stack.home.path],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert second.returncode == 2
    assert f"a stack runs here already (process {os.getpid()})" in second.stderr


def files(folder: Path) -> list[Path]:
    """The text files that a stack writes; not the databases'."""
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and not {"postgres", "jetstream"} & set(file.relative_to(folder).parts)
    ]


def words(file: Path) -> list[str]:
    return file.read_text(errors="replace").replace('"', " ").split()


def sockets(process: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{process}/fd").glob("*"):
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").rstrip("]"))
    return found
