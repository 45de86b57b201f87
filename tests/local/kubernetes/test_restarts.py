"""Pods by themselves: restarts as their policy says, readiness, ports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

if TYPE_CHECKING:
    from tests.local.kubernetes.conftest import Kube

LINGER = "import signal; print('ready'); signal.pause()"
TWICE = "open('n', 'a').write('x'); n = len(open('n').read()); print('run', n); exit({} if n < 2 else 0)"


def ready(pod: Any) -> bool:
    return {one.type: one.status for one in pod.status.conditions or ()}.get("Ready") == "True"


def restarted(pod: Any) -> bool:
    return bool(pod.status.container_statuses and pod.status.container_statuses[0].restart_count)


def test_on_failure_a_container_is_started_until_it_ends_well(kube: Kube) -> None:
    kube.create(TWICE.format(5), pod={"restartPolicy": "OnFailure"})
    pod = kube.ended()
    (one,) = pod.status.container_statuses
    assert (pod.status.phase, one.restart_count) == ("Succeeded", 1)
    assert (one.state.terminated.exit_code, one.last_state.terminated.exit_code) == (0, 5)
    assert (kube.log(), kube.log(previous=True)) == ("run 2\n", "run 1\n")


def test_always_one_is_started_that_ended_well_too(kube: Kube) -> None:
    kube.create(f"import os\nif os.path.exists('n'): {LINGER}\nopen('n', 'w')", pod={"restartPolicy": "Always"})
    (one,) = kube.until(restarted).status.container_statuses
    assert one.last_state.terminated.reason == "Completed"
    assert ready(kube.until(ready))


def test_a_command_that_is_not_there_is_tried_again(kube: Kube) -> None:
    kube.create("", command=["no-such-program"], pod={"restartPolicy": "Always"})
    (one,) = kube.waiting("CrashLoopBackOff").status.container_statuses
    assert one.last_state.terminated.reason == "StartError"
    assert "no-such-program" in one.last_state.terminated.message


def test_a_pod_that_backs_off_is_deleted_at_once(kube: Kube) -> None:
    kube.create("exit(1)", pod={"restartPolicy": "Always"})
    kube.until(lambda pod: restarted(pod) and pod.status.container_statuses[0].state.waiting)
    began = time.monotonic()
    kube.delete(grace_period_seconds=30)
    kube.gone()
    assert time.monotonic() - began < 5


def test_an_init_container_is_tried_again_and_has_then_done_its_work(kube: Kube) -> None:
    inits = [{"name": "i", "image": "python", "args": [TWICE.format(1)]}]
    kube.create(LINGER, pod={"restartPolicy": "Always", "initContainers": inits})
    (init,) = kube.until(ready).status.init_container_statuses
    assert (init.restart_count, init.state.terminated.exit_code) == (1, 0)


class TestReadiness:
    """A server on the port that the container is given."""

    SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/well' and not os.path.exists('ill') else 503)
        self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(os.environ['KAI_AIRFLOW_PORT_80'])), Handler).serve_forever()
"""

    def pod(self, kube: Kube, code: str, **probe: Any) -> Any:
        ports = [{"containerPort": 80, "name": "web"}]
        return kube.create(code, ports=ports, readinessProbe={"periodSeconds": 1, **probe})

    def test_a_port_that_takes_connections(self, kube: Kube) -> None:
        self.pod(kube, self.SERVER, tcpSocket={"port": "web"})
        assert ready(kube.until(ready))

    def test_a_page_that_answers_and_one_that_no_longer_does(self, kube: Kube) -> None:
        created = self.pod(kube, self.SERVER, httpGet={"path": "/well", "port": 80}, failureThreshold=2)
        kube.until(ready)
        (kube.server.home / "pods" / created.metadata.uid / "home" / "ill").touch()
        pod = kube.until(lambda pod: not ready(pod))
        assert pod.status.phase == "Running"
        (why,) = [event.message for event in kube.events() if event.reason == "Unhealthy"]
        assert why.startswith("Readiness probe failed: port ")
        assert why.endswith("HTTP 503")

    def test_what_never_answers_is_not_ready_and_an_event_says_why(self, kube: Kube) -> None:
        self.pod(kube, LINGER, tcpSocket={"port": 80}, failureThreshold=1)
        pod = kube.running()
        assert not ready(pod)
        since = pod.metadata.resource_version
        events = kube.core.list_namespaced_event
        for event in kube.watched(events, since):
            if event.reason == "Unhealthy":
                assert "Connect call failed" in event.message
                return
        raise AssertionError("no event")

    def test_each_pod_has_a_port_of_its_own(self, kube: Kube) -> None:
        for name in ("a", "b"):
            kube.create(
                "import os; print('port', os.environ['KAI_AIRFLOW_PORT_80'], os.environ['URL'])",
                name=name,
                ports=[{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
                env=[{"name": "URL", "value": "http://localhost:$(KAI_AIRFLOW_PORT_80)/"}],
            )
        logs = []
        for name in ("a", "b"):
            kube.ended(name)
            logs.append(kube.log(name).split())
        assert logs[0][1] != logs[1][1]
        assert all(url == f"http://localhost:{port}/" for _, port, url in logs)

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"readinessProbe": {}}, 422),
            ({"readinessProbe": {"tcpSocket": {"port": 80}, "httpGet": {"port": 80}}}, 422),
            ({"readinessProbe": {"httpGet": {"port": 80, "path": "@evil/"}}}, 422),
            ({"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 0}}, 422),
            ({"readinessProbe": {"exec": {"command": ["true"]}}}, 501),
            ({"ports": [{"containerPort": 80, "hostPort": 80}]}, 501),
            ({"ports": [{"containerPort": 0}]}, 422),
            ({"ports": [{"containerPort": 80}, {"containerPort": 80}]}, 422),
            ({"imagePullPolicy": "Sometimes"}, 422),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, kube: Kube, more: dict[str, Any], code: int) -> None:
        with pytest.raises(ApiException) as refused:
            kube.create("", **more)
        assert refused.value.status == code
