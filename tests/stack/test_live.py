"""Long-lived processes on the whole stack: whatever dies or changes, each call gets one answer or one error."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import guard
from tests.stack.conftest import command
from tests.stack.krts import add_images, until
from tests.stack.parts import kill
from tests.stack.serving import TRIGGER, Callers, Cluster, Serving, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.local.stack import Stack

pytestmark = pytest.mark.timeout(400)

BRIDGE, SERVER, KUBERNETES = "kai_airflow.cli bridge", "nats-server --config", "kai_airflow.local.kubernetes"
CORRECTED = 10.0  # seconds
TAKEN_OVER = 30.0
ROLLED = 90.0


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Cluster:
    return Cluster(stack)


@pytest.fixture(scope="module", autouse=True)
def images(stack: Stack) -> None:
    rest = ["python", "-m", "kai_airflow.demo.rest"]
    add_images(stack, {TRIGGER: rest, "test/mark": program("mark"), "test/answer": program("answer")})


@pytest.fixture(scope="module")
def served(stack: Stack) -> Serving:
    return Serving(stack, "serving").install()


@pytest.fixture(scope="module")
def url(served: Serving) -> str:
    return served.start()


@pytest.fixture
def callers(url: str) -> Iterator[Callers]:
    """Callers at work, who have had some answers."""
    with Callers(url).at_work() as callers:
        callers.more(20)
        yield callers


def processes(name: str) -> list[int]:
    """The running processes of this program."""
    words = f"processes.py {name}"
    return [one for one in guard.descendants(os.getpid()) if words in (line := command(one)) and "shim" not in line]


def test_a_killed_process_has_what_it_had_in_hand_handled_again(served: Serving, callers: Callers) -> None:
    for _ in range(2):
        for process in processes("mark"):
            os.kill(process, signal.SIGKILL)
        callers.more(50)
    callers.more(1)
    callers._stop = True
    callers.assert_answered()
    assert max(call.seconds for call in callers.calls) < 20


def test_data_flows_while_no_bridge_is_there(callers: Callers) -> None:
    kill(BRIDGE)
    callers.more(100)
    callers.assert_answered()


def test_a_killed_nats_server_costs_no_more_than_an_error_each(callers: Callers) -> None:
    kill(SERVER)
    callers.more(100)
    callers.assert_answered(0, 500, 502, 503, 504)


def test_a_killed_kubernetes_api_is_made_whole(served: Serving, cluster: Cluster, callers: Callers) -> None:
    kill(KUBERNETES)
    until(lambda: 0 in callers.statuses or 502 in callers.statuses or 503 in callers.statuses, 20)
    callers.more(100)
    callers.assert_answered(0, 500, 502, 503, 504)


def test_scaled_down_under_load_nothing_is_lost(stack: Stack, cluster: Cluster) -> None:
    scaled = Serving(stack, "scaled", replicas=3).install()
    url = scaled.start()
    name = scaled.deployment("work")
    with Callers(url).at_work() as callers:
        callers.more(20)
        cluster.apps.patch_namespaced_deployment_scale(name, "default", {"spec": {"replicas": 3}})
        until(lambda: len(cluster.pods("scaled", "work")) == 3 and cluster.is_ready(name), 30)
        callers.more(50)
        cluster.apps.patch_namespaced_deployment_scale(name, "default", {"spec": {"replicas": 1}})
        until(lambda: len(cluster.pods("scaled", "work")) == 1, 60)
        callers.more(50)
    callers.assert_answered()
    scaled.remove()
    until(lambda: not cluster.deployments("scaled"), ROLLED)


def test_a_new_version_takes_over_under_load(stack: Stack, cluster: Cluster) -> None:
    old = Serving(stack, "rolling").install()
    url = old.start()
    new = Serving(stack, "rolling", version="v1.1.0", mark="new")
    with Callers(url).at_work() as callers:
        callers.more(20)
        assert {call.said["mark"] for call in callers.good} == {"old"}
        new.install()
        until(lambda: callers.good[-1].said["mark"] == "new", ROLLED)
        until(lambda: cluster.deployments("rolling") == sorted(map(new.deployment, ("rest", "work", "exit"))), ROLLED)
        callers.more(50)
    callers.assert_answered()
    marks = [call.said["mark"] for call in callers.good]
    assert set(marks) == {"old", "new"}
    new.remove()
    until(lambda: not cluster.deployments("rolling"), ROLLED)


def test_what_is_changed_by_hand_is_corrected(served: Serving, url: str, cluster: Cluster) -> None:
    name = served.deployment("work")
    before = cluster.apps.read_namespaced_deployment(name, "default")
    cluster.apps.delete_namespaced_deployment(name, "default")

    def is_made_anew() -> bool:
        return name in cluster.deployments("serving") and cluster.is_ready(name)

    began = time.monotonic()
    until(is_made_anew, CORRECTED)
    assert cluster.apps.read_namespaced_deployment(name, "default").metadata.uid != before.metadata.uid
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "process", "image": "another"}]}}}}
    cluster.apps.patch_namespaced_deployment(name, "default", patch)

    def image() -> str:
        found = cluster.apps.read_namespaced_deployment(name, "default")
        return str(found.spec.template.spec.containers[0].image)

    until(lambda: image() == "test/mark", CORRECTED)
    with Callers(url).at_work() as callers:
        callers.more(20)
    callers.assert_answered()
    assert time.monotonic() - began < 60


def test_a_paused_product_stops_and_goes_on_where_it_was(served: Serving, url: str, cluster: Cluster) -> None:
    assert served.command("unpublish", "serving").returncode == 0
    ran = served.command("stop", "serving")
    assert ran.returncode == 0, ran.stderr
    assert cluster.deployments("serving") == []
    assert served.status()["state"] == "STOPPED"
    assert served.start() == url
    assert served.status()["state"] == "PUBLISHED"
    with Callers(url).at_work() as callers:
        callers.more(20)
    callers.assert_answered()


def test_a_process_that_cannot_start_says_why(stack: Stack) -> None:
    broken = Serving(stack, "unstartable").install()
    text = (stack.dags / "unstartable" / "krt.yaml").read_text().replace("test/mark", "test/nobody-knows")
    (stack.dags / "unstartable" / "krt.yaml").write_text(text)
    began = time.monotonic()
    until(lambda: broken.status()["state"] == "ERROR", 60)
    assert time.monotonic() - began < 60
    assert "work" in broken.status()["cause"]
    assert "test/nobody-knows" in broken.status()["cause"]
    broken.remove()
