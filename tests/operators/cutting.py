"""A TCP proxy that breaks connections off."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

REFUSALS = (b"404 Not Found", b"503 Service Unavailable", b"500 Internal Server Error")


@dataclass
class CuttingProxy:
    """Passes at most a random number of bytes of each answer on; sometimes it answers with an error itself."""

    upstream: int
    random: Random
    longest: int
    patience: int
    """After so many connections it lets everything pass."""
    port: int = 0
    cuts: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError):
            if self.cuts < self.patience and self.random.random() < 0.2:
                await self._refuse(reader, writer)
            else:
                await self._pass_on(reader, writer)
        self._open.discard(writer)
        # Both ways in which a connection ends: as if all were well, and with a reset.
        if self.random.random() < 0.5:
            writer.close()
        else:
            writer.transport.abort()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.cuts += 1
        writer.write(b"HTTP/1.1 " + self.random.choice(REFUSALS) + b"\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._open.add(to_server)
        asking = asyncio.create_task(_copy(reader, to_server))
        try:
            left = self.random.randrange(self.longest) if self.cuts < self.patience else None
            while left != 0 and (data := await from_server.read(min(left or 1 << 16, 1 << 16))):
                writer.write(data)
                await writer.drain()
                left = None if left is None else left - len(data)
            self.cuts += left == 0
        finally:
            asking.cancel()
            to_server.transport.abort()
            self._open.discard(to_server)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
