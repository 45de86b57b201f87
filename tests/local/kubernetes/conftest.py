"""A real server process, and namespaces of it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from kubernetes import client, config, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 15.0  # seconds for anything that a test waits for
IMAGES = {"python": ["python", "-u", "-c"], "shell": ["sh", "-c"]}
_numbers = itertools.count(1)


class Server:
    """`python -m kai_airflow.local.kubernetes` in a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.home = folder / "home"
        self.images = folder / "dags" / "images.yaml"
        self.images.parent.mkdir(parents=True)
        self.images.write_text(yaml.safe_dump(IMAGES))
        self.log = folder / "server.log"
        self.options: list[str] = []
        # Whether there is an engine on this machine is no matter, but where a test asks for it.
        self._environment = {**os.environ, "KAI_AIRFLOW_ENGINE": "none", **environment}
        self.process: subprocess.Popen[bytes]

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def url(self) -> str:
        return str(yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])

    @property
    def token(self) -> str:
        return str(yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"])

    def start(self) -> Server:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.words(self.home), env=self._environment, stderr=log)
        until(lambda: self.kubeconfig.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def words(self, home: Path) -> list[str]:
        """The command of a server like this one, in a folder."""
        module = "kai_airflow.local.kubernetes"
        return [sys.executable, "-m", module, "--home", str(home), "--images", str(self.images), *self.options]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the server and give its exit code; a test that did so itself may call this again."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def namespace(self) -> Kube:
        return Kube(self, f"test-{next(_numbers)}")


def until(test: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Look until it is so; for what nobody announces (files, processes of others)."""
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Kube:
    """One namespace, and what the tests do in it."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.api_client = config.new_client_from_config(str(server.kubeconfig))
        self.core = client.CoreV1Api(self.api_client)
        headers = {"Authorization": f"Bearer {server.token}"}
        # There is no TLS here, and to load the machine's certificates for each test takes long.
        self.http = httpx.Client(base_url=server.url, headers=headers, timeout=DEADLINE, verify=False)  # noqa: S501
        self.url = f"/api/v1/namespaces/{namespace}"

    def close(self) -> None:
        self.http.close()
        self.api_client.close()

    def manifest(self, code: str, *, name: str = "p", image: str = "python", **more: Any) -> dict[str, Any]:
        """A pod with a container `base` that runs the code; `more` is of the container, `pod` of the spec."""
        spec = {"restartPolicy": "Never", **more.pop("pod", {})}
        metadata = {"name": name, **more.pop("metadata", {})}
        spec.setdefault("containers", [{"name": "base", "image": image, "args": [code], **more}])
        return {"metadata": metadata, "spec": spec}

    def create(self, code: str, **more: Any) -> Any:
        return self.core.create_namespaced_pod(self.namespace, self.manifest(code, **more))

    def secret(self, name: str, **data: str) -> Any:
        body = {"metadata": {"name": name}, "stringData": data}
        return self.core.create_namespaced_secret(self.namespace, body)

    def until(self, test: Callable[[Any], object], name: str = "p", since: str | None = None) -> Any:
        """The pod, as soon as it is so; None as soon as it is gone."""
        stream = watch.Watch()
        selector = f"metadata.name={name}"
        options = {"field_selector": selector, "timeout_seconds": int(DEADLINE), "resource_version": since}
        watched = stream.stream(self.core.list_namespaced_pod, self.namespace, **options)
        for event in watched:
            pod = None if event["type"] == "DELETED" else event["object"]
            if pod is None or test(pod):
                stream.stop()
                watched.close()
                return pod
        raise AssertionError(f"waited in vain for pod {name}: {self.core.read_namespaced_pod(name, self.namespace)}")

    def watched(self, listing: Callable[..., Any], since: str) -> Iterator[Any]:
        """The objects of a kind, as they come."""
        stream = watch.Watch()
        options = {"timeout_seconds": int(DEADLINE), "resource_version": since}
        for event in stream.stream(listing, self.namespace, **options):
            yield event["object"]

    def ended(self, name: str = "p") -> Any:
        return self.until(lambda pod: pod.status.phase in ("Succeeded", "Failed"), name)

    def running(self, name: str = "p") -> Any:
        return self.until(lambda pod: pod.status.phase == "Running", name)

    def waiting(self, reason: str, name: str = "p") -> Any:
        """The pod, as soon as its first container waits for this reason."""

        def waits(pod: Any) -> bool:
            found = pod.status.container_statuses
            return bool(found and found[0].state.waiting and found[0].state.waiting.reason == reason)

        return self.until(waits, name)

    def delete(self, name: str = "p", **options: Any) -> Any:
        return self.core.delete_namespaced_pod(name, self.namespace, **options)

    def gone(self, name: str = "p") -> None:
        """Wait until the pod, which is being deleted, no longer exists."""
        found = self.core.list_namespaced_pod(self.namespace, field_selector=f"metadata.name={name}")
        if found.items:
            assert self.until(lambda _pod: False, name, found.metadata.resource_version) is None

    def log(self, name: str = "p", **options: Any) -> str:
        """The log as text; the client's own decoding shows bytes as Python text."""
        response = self.core.read_namespaced_pod_log(name, self.namespace, _preload_content=False, **options)
        try:
            return str(response.data.decode())
        finally:
            response.release_conn()

    def line(self, start: str, name: str = "p") -> str:
        """The rest of the first line of the log that begins so, as soon as it is printed."""
        self.until(lambda pod: pod.status.phase != "Pending", name)
        with self.http.stream("GET", f"{self.url}/pods/{name}/log", params={"follow": "true"}) as response:
            for line in response.iter_lines():
                if line.startswith(start):
                    return line.removeprefix(start).strip()
        raise AssertionError(f"no line begins with {start!r}: {self.log(name)}")

    def events(self, name: str = "p") -> list[Any]:
        selector = f"involvedObject.name={name}"
        return list(self.core.list_namespaced_event(self.namespace, field_selector=selector).items)

    def run(self, code: str, **more: Any) -> str:
        """Run the code in a pod to its end; its log."""
        name = self.create(code, **more).metadata.name
        self.ended(name)
        return self.log(name)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("kubernetes"), SERVER_SECRET="not for containers").start()
    yield server
    assert server.stop() == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def kube(shared: Server) -> Iterator[Kube]:
    """A namespace of its own on a server that tests share; its pods are gone afterwards."""
    kube = shared.namespace()
    yield kube
    kube.core.delete_collection_namespaced_pod(kube.namespace, grace_period_seconds=0)
    kube.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be ended in any way."""
    server = Server(tmp_path).start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def own(server: Server) -> Iterator[Kube]:
    """A namespace of the server that is the test's own."""
    kube = server.namespace()
    yield kube
    kube.close()
