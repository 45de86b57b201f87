"""The server's life: folder, token, kubeconfig, tasks, end."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes import controllers, garbage, kept
from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.engine import Engine, find
from kai_airflow.local.kubernetes.http import application
from kai_airflow.local.kubernetes.images import ImageMap
from kai_airflow.local.kubernetes.launch import Launcher
from kai_airflow.local.kubernetes.node import Node
from kai_airflow.local.kubernetes.proxy import LOGGER, Proxy
from kai_airflow.local.kubernetes.store import Store

HOST = "127.0.0.1"

# What a client that has gone had asked for is cancelled, not kept until its timeout.
_SERVING: dict[str, Any] = {"access_log": None, "handler_cancellation": True}


async def serve(home: Path, images: Path, port: int = 0, ingress_port: int = 0, token_file: Path | None = None) -> None:
    """Serve the API on `port` and the Ingresses on `ingress_port` (0: any that is free), until SIGTERM or SIGINT.

    `home/kubeconfig` is there from the first answer until the end; a server that is killed leaves it. With the same
    ports and token, the next one is who it speaks of.

    Raises StackError where a port or the folder is taken, or the token can't be read.
    """
    stop, token, engine = asyncio.Event(), _token(token_file), _engine(home)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _own(home) as pods, _listening(port) as listener, _listening(ingress_port) as doors:
        api = Api(Store(first=time.time_ns() // 10**6))
        node = Node(api.store, pods, Launcher(ImageMap(images), engine))
        proxy = Proxy(api.store, node)
        async with (
            _tasks(api, node, doors.getsockname()[1], engine, home / "ingresses.json"),
            proxy.working(),
            _answering(
                web.ServerRunner(web.Server(proxy.answer, logger=LOGGER, **_SERVING), shutdown_timeout=1.0), doors
            ),
            _answering(web.AppRunner(application(api, node, token), shutdown_timeout=1.0, **_SERVING), listener),
        ):
            with _kubeconfig(home / "kubeconfig", f"http://{HOST}:{listener.getsockname()[1]}", token):
                await stop.wait()
            await node.stop()
            api.store.close()


def _token(file: Path | None) -> str:
    try:
        return file.read_text() if file else secrets.token_urlsafe(32)
    except OSError as error:
        raise StackError(f"can't read the token of the local Kubernetes API: {error}") from error


def _engine(home: Path) -> Engine | None:
    """The engine for images without a command, where there is one."""
    program = find(os.environ)
    return Engine(program, home.absolute()) if program else None


@contextlib.contextmanager
def _own(home: Path) -> Iterator[Path]:
    """The folder for pods, empty, for this server alone; gone afterwards."""
    pods, lock = home / "pods", _lock(home)
    try:
        shutil.rmtree(pods, ignore_errors=True)  # what a server that was killed has left
        pods.mkdir(mode=0o700, exist_ok=True)
        yield pods
    finally:
        shutil.rmtree(pods, ignore_errors=True)
        os.close(lock)


def _lock(home: Path) -> int:
    """A descriptor that keeps other servers out of the folder. It goes with this process, however that ends."""
    if sys.platform != "linux":
        raise StackError(f"the local Kubernetes API runs containers on Linux only, not on {sys.platform}")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StackError(f"{home} is in use by another local Kubernetes API: stop that one first") from error
    except OSError as error:
        raise StackError(f"can't use {home} as the home of the local Kubernetes API: {error}") from error
    return lock


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise StackError(f"port {port} of {HOST} is taken: stop what listens there, or choose another") from error
        yield listener


@contextlib.asynccontextmanager
async def _tasks(
    api: Api, node: Node, ingress_port: int, engine: Engine | None, ingresses: Path
) -> AsyncIterator[None]:
    """The node and the controllers at work; when one of them breaks, the server stops with its error."""
    works = (
        *([engine.clear()] if engine else []),
        node.run(),
        controllers.control(api, ingress_port),
        controllers.look_again(api),
        garbage.collect(api),
        garbage.forget(api),
        kept.follow(api.store, ingresses),
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        await asyncio.sleep(0)  # they follow the store from its first change on
        try:
            kept.restore(api.store, ingresses)
            yield
        finally:
            for task in tasks:
                task.cancel()


@contextlib.asynccontextmanager
async def _answering(runner: web.AppRunner | web.ServerRunner, listener: socket.socket) -> AsyncIterator[None]:
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _kubeconfig(file: Path, url: str, token: str) -> Iterator[None]:
    """The file by which clients find the server; it appears whole."""
    name = "kai-local"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with open(draft, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as text:
        yaml.safe_dump(config, text, sort_keys=False)
    draft.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
