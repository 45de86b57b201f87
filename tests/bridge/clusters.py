"""The local Kubernetes API, at an address that it keeps when it is killed; and what tests ask of it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from kai_airflow.bridge.site import Cluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from kai_airflow.bridge.cluster.client import Kind, Kubernetes
    from kai_airflow.kube.objects import Manifest

DEADLINE = 30.0  # seconds
NAMESPACE = "default"
IMAGES = {"python": [sys.executable, "-u", "-c"], "sh": ["sh", "-c"]}


@dataclass
class LocalKubernetes:
    """As a process of its own, in a folder."""

    home: Path
    port: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        (self.home / "token").write_text("token")
        (self.home / "images.yaml").write_text(yaml.safe_dump(IMAGES))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def cluster(self) -> Cluster:
        return Cluster(NAMESPACE, kubeconfig=str(self.home / "kubeconfig"))

    def through(self, port: int) -> Cluster:
        """The same behind a proxy."""
        config = yaml.safe_load((self.home / "kubeconfig").read_text())
        config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
        return Cluster(NAMESPACE, config=config)

    def start(self) -> None:
        (self.home / "kubeconfig").unlink(missing_ok=True)
        options: list[str | Path] = ["--home", self.home, "--images", self.home / "images.yaml"]
        options += ["--port", str(self.port), "--token-file", self.home / "token"]
        self.process = subprocess.Popen([sys.executable, "-m", "kai_airflow.local.kubernetes", *options])
        deadline = time.monotonic() + DEADLINE
        while not (self.home / "kubeconfig").exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        self.process.wait(DEADLINE)


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = DEADLINE) -> Any:
    """The first answer that says something, of a server that has nothing that tells of changes to a test."""
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
        return found


async def there(kubernetes: Kubernetes, kind: Kind, name: str, namespace: str = NAMESPACE) -> Manifest:
    """An object, as soon as it is there."""
    found: Manifest = await until(lambda: kubernetes.get(kind, namespace, name))
    return found


async def gone(kubernetes: Kubernetes, kind: Kind, name: str, namespace: str = NAMESPACE) -> None:
    """Wait until an object isn't there."""

    async def is_gone() -> bool:
        return await kubernetes.get(kind, namespace, name) is None

    await until(is_gone)
