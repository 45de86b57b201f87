"""What the triggers that listen to HTTP have in common."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from kai_airflow.process import ProcessError, address

if TYPE_CHECKING:
    import asyncio

END_TIME = 15.0  # seconds that requests in hand have after SIGTERM

log = logging.getLogger("http")


async def serve(application: web.Application, declared: int, stop: asyncio.Event) -> None:
    """Listen until told to stop; then take in no more requests, and answer those that are in hand.

    :param declared: the KRT's ``targetPort``
    :raises ProcessError: the port can't be had
    """
    host, port = address(declared)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=END_TIME)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        log.info("listening on port %d", port)
        await stop.wait()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ProcessError(f"cannot listen on port {port}: {error.strerror}. Remedy: free it.") from error


def answer(status: int, **fields: str) -> web.Response:
    """A JSON object."""
    return web.json_response(fields, status=status)
