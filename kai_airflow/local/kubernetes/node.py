"""The node: follows the store, and gives each pod its life."""

import asyncio
from pathlib import Path

from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.launch import Launcher
from kai_airflow.local.kubernetes.life import Life
from kai_airflow.local.kubernetes.logs import Log
from kai_airflow.local.kubernetes.resources import PODS, SECRETS
from kai_airflow.local.kubernetes.store import Change, Store

SHUTDOWN_GRACE = 2.0
"""Seconds that containers get between SIGTERM and SIGKILL when the server stops."""


class Node:
    """Runs the pods of a store; each has a folder of its own below `folder` for as long as it exists."""

    def __init__(self, store: Store, folder: Path, launcher: Launcher) -> None:
        self._store, self._folder, self._launcher = store, folder, launcher
        self._lives: dict[str, Life] = {}
        self._stopping = False

    async def run(self) -> None:
        """Follow the store until it closes. Cancelled, it kills every process."""
        async with asyncio.TaskGroup() as group:
            async for change in self._store.changes(self._store.version):
                if change.key.kind == PODS.plural:
                    self._follow(change, group)
                if change.key.kind == SECRETS.plural:
                    for life in self._lives.values():
                        life.patience.look_again()

    def log(self, pod: Object, container: str, *, previous: bool) -> Log | None:
        """The log of a container, or of the run before the present one; None where there is none."""
        life = self._lives.get(pod["metadata"]["uid"])
        return life.log(container, previous=previous) if life else None

    def port(self, pod: Object, wanted: int | str) -> int | None:
        """The port of 127.0.0.1 for a containerPort of a pod, by its number or name."""
        life = self._lives.get(pod["metadata"]["uid"])
        return life.port(wanted) if life else None

    async def stop(self) -> None:
        """End every container and start none any more."""
        self._stopping = True
        for life in self._lives.values():
            life.stop(SHUTDOWN_GRACE)
        await asyncio.gather(*(life.ended.wait() for life in self._lives.values()))

    def _follow(self, change: Change, group: asyncio.TaskGroup) -> None:
        pod = change.new or change.old or {}
        uid = pod["metadata"]["uid"]
        if change.new is None:
            del self._lives[uid]
        elif change.old is None:
            life = self._lives[uid] = Life(self._store, change.key, pod, self._folder / uid, self._launcher)
            group.create_task(life.run())
            if self._stopping:
                life.stop(0)
        else:
            grace = change.new["metadata"].get("deletionGracePeriodSeconds")
            if grace != change.old["metadata"].get("deletionGracePeriodSeconds"):
                self._lives[uid].delete(grace)
