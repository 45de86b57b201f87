"""What docker-compose.yaml starts, started: its commands, users, environment, volumes, health checks and order."""

from __future__ import annotations

import json
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.compose.composing import ROOT, project, settings
from tests.stack.composed import LASTING, Composed, possible
from tests.stack.krts import krt, process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(not possible(), reason="this machine doesn't let us make namespaces: run it as root"),
    pytest.mark.timeout(900),
]

DAG = "small.work"
# The exit of the example products hands on what it gets of a process of this name.
KRT = krt(
    process("validation", "trigger", "none"), process("exit", "exit", "registry.kai.local/demo_exit:v1", "validation")
)

# Logs in with name and password, by the address that Airflow has for people, and asks for a path; prints the status of
# the last answer.
ASK = """
import sys, httpx
name, password, path = sys.argv[1:]
with httpx.Client(base_url="http://airflow.localhost:8080", timeout=30) as client:
    answer = client.post("/auth/token", json={"username": name, "password": password})
    if answer.is_success:
        answer = client.get(path, headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    print(answer.status_code)
"""


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All of it, with a small product in its dags folder."""
    folder = project(tmp_path_factory.mktemp("composed"))
    shutil.copy(ROOT / "dags" / "images.yaml", folder / "dags")
    (folder / "dags" / "small.krt.yaml").write_text(KRT)
    with Composed(folder) as running:
        yield running


def status(composed: Composed, user: str, password: str, path: str) -> int:
    asked = composed.run("bridge", "python", "-c", ASK, user, password, path)
    assert asked.returncode == 0, asked.stderr
    return int(asked.stdout)


def test_a_message_becomes_a_run_and_is_answered(composed: Composed) -> None:
    sent = composed.run("bridge", "kai-airflow", "send", DAG, '{"winner": "go"}', "--wait", "--timeout", "120")
    assert sent.returncode == 0, sent.stderr + composed.said("bridge") + composed.said("scheduler")
    assert json.loads(sent.stdout) == {"winner": "go"}


def test_only_passwords_of_env_open_airflow_and_the_bridge_has_no_more_rights_than_a_user(composed: Composed) -> None:
    chosen = settings(composed.folder)
    admin, bridge = ("admin", chosen["ADMIN_PASSWORD"]), ("bridge", chosen["BRIDGE_PASSWORD"])
    assert status(composed, *admin, "/api/v2/connections") == 200
    assert status(composed, *bridge, "/api/v2/dags") == 200
    assert status(composed, *bridge, "/api/v2/connections") == 403
    assert status(composed, "admin", "admin", "/api/v2/dags") == 401


def test_passwords_are_in_files_of_their_own_user(composed: Composed) -> None:
    for file in ("airflow/passwords.json", "k3s-kubeconfig/config"):
        found = (composed.folder / "volumes" / file).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (50000, 0o600)


def test_no_password_is_in_what_is_printed(composed: Composed) -> None:
    secrets = [
        value for name, value in settings(composed.folder).items() if name.endswith(("_PASSWORD", "_KEY", "_SECRET"))
    ]
    assert secrets
    for service in composed.understood["services"]:
        assert not [secret for secret in secrets if secret in composed.said(service)], service


def test_all_that_shall_go_on_goes_on(composed: Composed) -> None:
    lasting = [name for name, service in composed.understood["services"].items() if service.get("restart") == LASTING]
    assert {name: composed.runs(name) for name in lasting} == dict.fromkeys(lasting, True)
