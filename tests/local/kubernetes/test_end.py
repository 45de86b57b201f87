"""How pods end, and that nothing is left behind when they or the server do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from kubernetes import client
from kubernetes.client import ApiException

from kai_airflow.local import ports
from kai_airflow.local.kubernetes import shim
from tests.local.kubernetes.conftest import DEADLINE, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.kubernetes.conftest import Kube

POLITE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))
print('pid', os.getpid())
while True: signal.pause()
"""
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = [sys.executable, '-c', 'import signal; signal.signal(15, 1); signal.pause()']
child = subprocess.Popen(deaf)
daemon = subprocess.Popen(deaf, start_new_session=True)
print('pids', os.getpid(), child.pid, daemon.pid)
while True: signal.pause()
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(test: Callable[[], bool]) -> None:
    """For what nobody announces."""
    end = time.monotonic() + 10
    while not test():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def until_gone(*pids: int) -> None:
    until(lambda: not any(alive(pid) for pid in pids))


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def test_a_deleted_pod_is_asked_first_and_vanishes_when_it_has_ended(kube: Kube) -> None:
    kube.create(POLITE)
    (pid,) = numbers(kube.line("pid"))
    marked = kube.delete()
    assert marked.metadata.deletion_timestamp is not None
    assert marked.metadata.deletion_grace_period_seconds == 30
    kube.gone()
    assert not alive(pid)
    assert "Killing" in {event.reason for event in kube.events()}


def test_a_pod_and_its_grandchildren_that_do_not_listen_are_killed_after_the_grace_period(kube: Kube) -> None:
    kube.create(STUBBORN)
    pids = numbers(kube.line("pids"))
    began = time.monotonic()
    kube.delete(grace_period_seconds=1)
    assert kube.core.read_namespaced_pod("p", kube.namespace).metadata.deletion_timestamp is not None
    kube.gone()
    assert time.monotonic() - began >= 1
    assert not any(alive(pid) for pid in pids)


def test_a_second_deletion_brings_the_end_forward_and_never_back(kube: Kube) -> None:
    kube.create(STUBBORN)
    pids = numbers(kube.line("pids"))
    kube.delete(grace_period_seconds=600)
    assert kube.delete(grace_period_seconds=900).metadata.deletion_grace_period_seconds == 600
    kube.delete(grace_period_seconds=0)
    kube.gone()
    assert not any(alive(pid) for pid in pids)


def test_what_a_container_leaves_running_ends_with_its_first_process(kube: Kube) -> None:
    """As in a PID namespace: a daemon doesn't keep the pod, or its log, open."""
    code = """
import subprocess, sys
daemon = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)
print(daemon.pid)
"""
    assert not alive(int(kube.run(code)))


def test_a_pod_that_waits_for_its_image_is_deleted_at_once(kube: Kube) -> None:
    kube.create("", image="absent")
    kube.waiting("ErrImagePull")
    kube.delete()
    kube.gone()


def test_a_pod_deleted_right_after_its_creation_is_gone_and_its_name_free(kube: Kube) -> None:
    for _ in range(5):
        kube.create(POLITE)
        kube.delete(grace_period_seconds=0)
        kube.gone()
    assert kube.run("print('again')") == "again\n"


def test_while_a_pod_ends_its_name_is_taken(kube: Kube) -> None:
    kube.create(STUBBORN)
    kube.line("pids")
    kube.delete(grace_period_seconds=60)
    with pytest.raises(ApiException) as refused:
        kube.create("")
    assert refused.value.status == 409
    kube.delete(grace_period_seconds=0)
    kube.gone()


def test_a_server_that_is_killed_takes_its_containers_along(own: Kube) -> None:
    own.create(STUBBORN)
    pids = numbers(own.line("pids"))
    own.server.stop(signal.SIGKILL)
    until_gone(*pids)


def test_a_server_that_was_killed_leaves_its_folder_to_the_next(own: Kube, server: Server) -> None:
    uid = own.create(POLITE).metadata.uid
    (pid,) = numbers(own.line("pid"))
    server.stop(signal.SIGKILL)
    until_gone(pid)
    stale = server.token
    server.start()
    until(lambda: server.kubeconfig.exists() and server.token != stale)
    assert not (server.home / "pods" / uid).exists()


def test_clients_of_a_server_that_was_killed_reach_the_next_one_with_the_same_ports_and_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    port, ingress = ports.free(2)
    server = Server(tmp_path / "server")
    server.options = ["--port", str(port), "--ingress-port", str(ingress), "--token-file", str(token)]
    kube = server.start().namespace()
    kubeconfig = server.kubeconfig.read_text()
    kube.create(POLITE)
    server.stop(signal.SIGKILL)
    assert server.kubeconfig.read_text() == kubeconfig  # who loads it now is answered as soon as there is a server
    server.start()
    until(lambda: answers(kube))
    assert httpx.get(f"http://127.0.0.1:{ingress}/").text.startswith("404: no Ingress has a rule")
    assert kube.run("print('again')") == "again\n"
    assert server.kubeconfig.read_text() == kubeconfig
    kube.close()
    assert server.stop() == 0


def test_ingresses_outlive_a_server_that_is_killed(own: Kube, server: Server) -> None:
    def rules(kube: Kube) -> list[str]:
        found = client.NetworkingV1Api(kube.api_client).list_namespaced_ingress(own.namespace).items
        return [rule.host for one in found for rule in one.spec.rules]

    spec = {"rules": [{"host": "a.test"}]}
    networking = client.NetworkingV1Api(own.api_client)
    networking.create_namespaced_ingress(own.namespace, {"metadata": {"name": "a"}, "spec": spec})
    networking.create_namespaced_ingress(own.namespace, {"metadata": {"name": "b"}, "spec": spec})
    networking.delete_namespaced_ingress("b", own.namespace)
    until(lambda: (server.home / "ingresses.json").exists() and b'"b"' not in kept(server))
    server.stop(signal.SIGKILL)
    stale = server.token
    server.start()
    until(lambda: server.token != stale)
    again = server.namespace()
    assert rules(again) == ["a.test"]
    again.close()


def kept(server: Server) -> bytes:
    return (server.home / "ingresses.json").read_bytes()


def test_a_file_of_ingresses_that_cannot_be_read_is_a_message(server: Server) -> None:
    server.stop()
    (server.home / "ingresses.json").write_text("no JSON")
    ran = subprocess.run(server.words(server.home), capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert ran.returncode != 0
    assert "publish again" in ran.stderr


def answers(kube: Kube) -> bool:
    try:
        return kube.http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def test_a_token_that_cannot_be_read_is_a_message(server: Server, tmp_path: Path) -> None:
    words = [*server.words(tmp_path / "other"), "--token-file", str(tmp_path / "absent")]
    second = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "can't read the token" in second.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, STUBBORN), (signal.SIGINT, STUBBORN.replace("IGN", "DFL"))]
)
def test_a_server_that_is_stopped_ends_everything_and_leaves_nothing(own: Kube, number: int, code: str) -> None:
    own.create(code)
    own.create(POLITE, name="q")
    pids = [*numbers(own.line("pids")), *numbers(own.line("pid", "q"))]
    with (
        own.http.stream("GET", f"{own.url}/pods/q/log?follow=true") as log,
        own.http.stream("GET", f"{own.url}/pods?watch=true") as watched,
    ):
        assert own.server.stop(number) == 0
        assert log.read().decode().splitlines()[-1] == "bye"
        watched.read()
    assert not any(alive(pid) for pid in pids)
    assert list(own.server.home.iterdir()) == []
    assert own.server.log.read_text() == ""


def test_a_second_server_in_the_same_folder_is_refused(server: Server) -> None:
    second = subprocess.run(server.words(server.home), capture_output=True, text=True, timeout=20, check=False)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert f"{server.home} is in use" in second.stderr
    assert server.kubeconfig.exists()


def test_a_folder_that_cannot_be_made_is_a_message(server: Server) -> None:
    second = subprocess.run(
        server.words(server.images / "below"), capture_output=True, text=True, timeout=20, check=False
    )
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "can't use" in second.stderr


@pytest.mark.parametrize("option", ["--port", "--ingress-port"])
def test_a_port_that_is_taken_is_a_message(server: Server, tmp_path: Path, option: str) -> None:
    port = server.url.rpartition(":")[2]
    words = [*server.words(tmp_path / "other"), option, port]
    second = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert f"port {port} of 127.0.0.1 is taken" in second.stderr


def test_a_container_does_not_outlive_its_shim(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-S", shim.__file__, str(tmp_path), "0", "sleep", "60"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[1])
        os.kill(process.pid, signal.SIGKILL)
        until_gone(pid)
