"""The stack's nats-server, really started."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

from kai_airflow.local import nats, ports

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_client_that_answers_no_pings_is_not_cut_off(tmp_path: Path) -> None:
    """KAI's Python SDK answers none while a handler computes; cut off, it would lose what it publishes next."""
    (port,) = ports.free(1)
    part = nats.part(tmp_path, port, "password", os.environ, rank=0)
    config = tmp_path / "nats-server.conf"
    config.write_text(json.dumps({**json.loads(config.read_text()), "ping_interval": "50ms"}))
    server = await asyncio.create_subprocess_exec(*part.command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            assert await pings(port, 10) == 10
    finally:
        server.terminate()
        await server.wait()


async def pings(port: int, count: int) -> int:
    """How many pings come, of this many, when none is answered."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)  # the server announces itself to nobody
    await reader.readline()
    login = {"user": nats.USER, "pass": "password", "verbose": False, "pedantic": False}
    writer.write(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
    seen = 0
    while seen < count and (line := await reader.readline()):
        seen += line == b"PING\r\n"
    writer.close()
    await writer.wait_closed()
    return seen
