"""Counts the requests that reach an HTTP server, by who makes them."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import yaml

from kai_airflow.local.home import write_private
from kai_airflow.local.ports import HOST

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

CHUNK = 64 << 10
REQUEST = re.compile(rb"(?:GET|POST|PUT|PATCH|DELETE) /\S* HTTP/1\.1\r\n")  # right behind a body, too


class CountingProxy:
    """Passes connections on to a server, and keeps what clients said there. Its event loop runs in a thread.

    :param server: host and port of the server
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._said: list[bytearray] = []
        self._port: Future[int] = Future()
        self._stop = asyncio.Event()
        self._resources = ExitStack()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._port.result()}"

    def requests(self, name: str) -> int:
        """How many requests were made over connections on which this name was said.

        Each task has connections of its own, and names its pod on each of them.
        """
        return sum(requests(said) for said in self._said if name.encode() in said)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._resources.callback(self._loop.close)
        thread = self._resources.enter_context(ThreadPoolExecutor(1, "counting proxy"))
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
        connections: set[asyncio.Task[None]] = set()

        def connected(reader: StreamReader, writer: StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        try:
            server = await asyncio.start_server(connected, HOST, 0)
        except OSError as error:
            self._port.set_exception(error)
            return
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        said = bytearray()
        self._said.append(said)
        try:
            to_server = await asyncio.open_connection(*self._server)
        except OSError:  # as if nobody listened here, either
            writer.close()
            return
        await asyncio.gather(_pass(reader, to_server[1], said), _pass(to_server[0], writer, bytearray()))


async def _pass(reader: StreamReader, writer: StreamWriter, said: bytearray) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                said.extend(data)
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


def requests(said: bytes | bytearray) -> int:
    """How many HTTP requests a client made that said this on a connection."""
    return len(REQUEST.findall(said))


@contextmanager
def counted(kubeconfig: Path) -> Iterator[CountingProxy]:
    """Have whoever reads this kubeconfig from now on, while the block lasts, ask by way of a proxy."""
    before = kubeconfig.read_text()
    config = yaml.safe_load(before)
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    with CountingProxy((str(server.hostname), int(server.port or 80))) as proxy:
        cluster["server"] = proxy.url
        write_private(kubeconfig, yaml.safe_dump(config))
        try:
            yield proxy
        finally:
            write_private(kubeconfig, before)
