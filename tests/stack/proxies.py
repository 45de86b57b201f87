"""What stands between a bridge and its servers when a network, or a server, isn't well."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web

from kai_airflow.bridge.client import ANSWER
from kai_airflow.local.ports import HOST

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from types import TracebackType

CHUNK = 64 << 10


class Between:
    """Listens on a port of its own in front of another. Its event loop runs in a thread."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._port: Future[int] = Future()
        self._stop = asyncio.Event()
        self._resources = ExitStack()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port.result()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._resources.callback(self._loop.close)
        thread = self._resources.enter_context(ThreadPoolExecutor(1, type(self).__name__))
        serving = thread.submit(self._loop.run_until_complete, self._serve())
        self._resources.callback(serving.result)
        self._resources.callback(self._loop.call_soon_threadsafe, self._stop.set)
        self._port.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    async def _serve(self) -> None:
        raise NotImplementedError


class Link(Between):
    """Passes connections on, until it is cut or goes silent."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._connections: set[asyncio.Task[None]] = set()
        self._broken = False
        self._silent: asyncio.Event = asyncio.Event()

    def cut(self) -> None:
        """Close all connections, and take no new ones."""
        self._loop.call_soon_threadsafe(self._cut)

    def mend(self) -> None:
        """Take connections again."""
        self._loop.call_soon_threadsafe(setattr, self, "_broken", False)

    def silence(self) -> None:
        """Keep all connections, and pass nothing on any more, for good; new ones are well."""
        self._loop.call_soon_threadsafe(self._silence)

    def _cut(self) -> None:
        self._broken = True
        for task in self._connections:
            task.cancel()

    def _silence(self) -> None:
        self._silent.set()
        self._silent = asyncio.Event()

    async def _serve(self) -> None:
        def connected(reader: StreamReader, writer: StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        server = await asyncio.start_server(connected, HOST, 0)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        silent = self._silent
        try:
            if self._broken:
                return
            to_server = await asyncio.open_connection(HOST, self._server)
            try:
                ways = _pass(reader, to_server[1], silent), _pass(to_server[0], writer, silent)
                await asyncio.gather(*ways)
            finally:
                to_server[1].close()
        except OSError:  # as if nobody listened here, either
            return
        finally:
            writer.close()


async def _pass(reader: StreamReader, writer: StreamWriter, silent: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            if not silent.is_set():
                writer.write(data)
                await writer.drain()
    if not silent.is_set():
        writer.close()


class Moody(Between):
    """An API server that is slow, answers 500 though it did or didn't do what it was asked, or hangs up over it.

    Once it is so late that its client has given up what it does then. ``done``: what it did, how often.
    """

    LATE = ANSWER + 2.0  # seconds
    MOODS = {"well": 84, "slow": 4, "refuses": 4, "forgets": 4, "hangs up": 4}  # and how often, of a hundred

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(port)
        self._chance = random.Random(seed)
        self._was_late = False
        self.done: Counter[str] = Counter()

    async def _serve(self) -> None:
        async with aiohttp.ClientSession(f"http://{HOST}:{self._server}") as self._session:
            runner = web.AppRunner(self._application())
            await runner.setup()
            try:
                await web.TCPSite(runner, HOST, 0).start()
                self._port.set_result(runner.addresses[0][1])
                await self._stop.wait()
            finally:
                await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        mood = self._mood(request)
        try:
            return await self._answer(request, mood)
        finally:
            self.done[mood] += 1

    def _mood(self, request: web.Request) -> str:
        if request.method != "POST" or not request.path.endswith("/dagRuns"):
            return "well"
        if not self._was_late:
            self._was_late = True
            return "late"
        return self._chance.choices(list(self.MOODS), list(self.MOODS.values()))[0]

    async def _answer(self, request: web.Request, mood: str) -> web.StreamResponse:
        body = await request.read()
        if mood == "refuses":
            return web.Response(status=500, text="not now")
        await asyncio.sleep({"late": self.LATE, "slow": 0.5}.get(mood, 0))
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with self._session.request(request.method, request.raw_path, data=body, headers=headers) as answer:
            said = await answer.read()
        if mood == "forgets":
            return web.Response(status=500, text="what was it?")
        if mood == "hangs up" and request.transport is not None:
            request.transport.close()
        return web.Response(status=answer.status, body=said, content_type=answer.content_type)
