"""What a task, an exit and a trigger have in common: what they are told, their start and their end."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.streams import refused_keys
from kai_airflow.process import logs, settings

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue
    from nats.js.object_store import ObjectStore

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.settings import Settings

Hook = Callable[[], Awaitable[None] | None]
HookT = TypeVar("HookT", bound=Hook)


class Program(ABC):
    """A process of a workflow.

    From the ``init`` hooks on it has ``config`` (the KRT's, for this process), ``buckets`` (key-value, by scope:
    global, product, workflow, process) and, where the KRT declares an object store, ``objects``.
    """

    def __init__(self) -> None:
        self.config: Mapping[str, str] = {}
        self.buckets: Mapping[str, KeyValue] = {}
        self.objects: ObjectStore | None = None
        self.log = logging.getLogger("process")
        self._hooks: list[Hook] = []

    def init(self, hook: HookT) -> HookT:
        """Make a function, ``async`` or plain, run once before the first request."""
        self._hooks.append(hook)
        return hook

    def run(self) -> NoReturn:
        """Run until SIGTERM or SIGINT and exit: 0 when told to, 1 after an error that is no request's."""
        logs.configure()
        try:
            asyncio.run(self._serve())
        except KaiAirflowError as error:
            self.log.error("%s", error)
            sys.exit(1)
        except Exception:
            self.log.exception("the process failed")
            sys.exit(1)
        sys.exit(0)

    async def _serve(self) -> None:
        stop = _told_to_stop()
        told = settings.read(os.environ)
        self._check(told)
        self.log = logging.getLogger(told.process)
        async with connect(told.nats_url, name=told.process) as connection:
            await self._prepare(connection.js, told)
            for hook in self._hooks:
                await called(hook)
            await self._work(told, connection, stop)
        self.log.info("ended, as told" if stop.is_set() else "ended by itself")

    @abstractmethod
    def _check(self, told: Settings) -> None:
        """:raises ProcessError: it isn't made for a process of this type, or lacks what it needs."""

    @abstractmethod
    async def _work(self, told: Settings, connection: Connection, stop: asyncio.Event) -> None:
        """All that it does, until told to stop."""

    async def _prepare(self, js: JetStreamContext, told: Settings) -> None:
        for scope, bucket in told.buckets.items():
            with translated(f"open key-value bucket {bucket}"):
                self.buckets = {**self.buckets, scope: await js.key_value(bucket)}
        if told.object_store:
            with translated(f"open object store {told.object_store}"):
                self.objects = await js.object_store(told.object_store)
        self.config = told.config
        await self._publish_config()

    async def _publish_config(self) -> None:
        """As the SDKs do, at every start, over what was changed there meanwhile."""
        refused = refused_keys(self.config)
        for key, value in self.config.items():
            if key in refused:
                self.log.warning("NATS allows no key %r: it stands in process.config alone", key)
                continue
            with translated(f"write {key} to the process's key-value bucket"):
                await self.buckets["process"].put(key, value.encode())


async def called(function: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    """Call a function of the author's: a plain one in a thread, so that it may take its time."""
    if inspect.iscoroutinefunction(function):
        await function(*arguments)
    else:
        await asyncio.to_thread(function, *arguments)


def _told_to_stop() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
