"""A process: its handlers, its start and its end."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.streams import refused_keys
from kai_airflow.process import logs, settings
from kai_airflow.process.errors import ProcessError
from kai_airflow.process.loop import Loop
from kai_airflow.process.request import Outbox, Request

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue
    from nats.js.object_store import ObjectStore

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.settings import Settings

Handler = Callable[[Request], Awaitable[None] | None]
Hook = Callable[[], Awaitable[None] | None]
HandlerT = TypeVar("HandlerT", bound=Handler)
HookT = TypeVar("HookT", bound=Hook)

THE_REST = ""  # the sender that stands for all who have no handler of their own


class Process:
    """A task or exit of a workflow. It handles one request at a time, in the order in which they arrive.

    From the ``init`` hooks on it has ``config`` (the KRT's, for this process), ``buckets`` (key-value, by scope:
    global, product, workflow, process) and, where the KRT declares an object store, ``objects``.
    """

    def __init__(self) -> None:
        self.config: Mapping[str, str] = {}
        self.buckets: Mapping[str, KeyValue] = {}
        self.objects: ObjectStore | None = None
        self.log = logging.getLogger("process")
        self._handlers: dict[str, Handler] = {}
        self._hooks: list[Hook] = []

    def on(self, *senders: str) -> Callable[[HandlerT], HandlerT]:
        """Make a function the handler of what these processes send; without any, of all the rest.

        It may be ``async``; a plain one runs in a thread, so that it may take its time. An ERROR message answers a
        request whose handler raises.
        """

        def register(handler: HandlerT) -> HandlerT:
            for sender in senders or (THE_REST,):
                if sender in self._handlers:
                    raise ProcessError(f"two handlers for {sender or 'all the rest'}. Remedy: remove one.")
                self._handlers[sender] = handler
            return handler

        return register

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
        self.log = logging.getLogger(told.process)
        async with connect(told.nats_url, name=told.process) as connection:
            await self._prepare(connection.js, told)
            for hook in self._hooks:
                await _called(hook)
            await Loop(told, connection, await _outbox(connection, told), self._handle, stop).run()
        self.log.info("ended, as told")

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

    async def _handle(self, request: Request) -> None:
        handler = self._handlers.get(request.sender) or self._handlers.get(THE_REST)
        if handler is None:
            raise ProcessError(f"no handler for what {request.sender!r} sends. Remedy: add one, or one for all.")
        await _called(handler, request)


async def _called(function: Callable[..., Awaitable[None] | None], *arguments: Request) -> None:
    if inspect.iscoroutinefunction(function):
        await function(*arguments)
    else:
        await asyncio.to_thread(function, *arguments)


async def _outbox(connection: Connection, told: Settings) -> Outbox:
    """KAI's limit of a message: the smaller of the server's and the stream's."""
    with translated(f"find stream {told.stream}"):
        stream = (await connection.js.stream_info(told.stream)).config
    limits = [connection.max_payload, stream.max_msg_size or 0]
    return Outbox(connection, told.process, told.output, min(limit for limit in limits if limit > 0))


def _told_to_stop() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
