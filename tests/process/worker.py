"""A process that does what its requests say."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

from kai_airflow.process import Process, Request

process = Process()


@process.init
async def started() -> None:
    process.log.info("configured: %s", dict(process.config))


@process.on("trigger", "other")
async def obey(request: Request) -> None:  # noqa: C901  # one branch for each thing to do
    match request.payload:
        case {"do": "fail"}:
            raise ValueError("as told")
        case {"do": "wait"}:
            await told_to_go_on()
            await request.send("waited")
        case {"do": "swallow", "size": size}:
            await told_to_go_on()
            with suppress(Exception):
                await request.send("x" * size)
        case {"do": "channels", "names": names}:
            for name in names:
                await request.send(name, channel=name)
        case {"do": "each", "count": count}:
            for number in range(count):
                await request.send(number)
        case {"do": "many", "count": count}:
            for number in range(count):
                request.send(number)  # not awaited, and published all the same
        case {"do": "mix"}:
            request.send(0)
            request.send(1)
            await request.send(2)
            request.send(3)
            await asyncio.sleep(0)
            await request.send(4)
        case {"do": "noise", "size": size}:
            await request.send(os.urandom(size // 2).hex())
        case {"do": "text", "size": size}:
            await request.send("x" * size)
        case {"do": "rename", "ids": ids}:
            for request_id in ids:
                await request.send("renamed", request_id=request_id)
        case {"do": "forward"}:
            await request.send(request.raw)
        case {"do": "object"}:
            await request.send(object())
        case {"do": "complain"}:
            await request.send_error("complaint")
        case {"do": "block", "seconds": seconds}:
            await request.send("begun")
            await asyncio.sleep(0)
            time.sleep(seconds)  # noqa: ASYNC251  # as a careless handler does
            process.log.info("handled")
        case {"do": "cancelled"}:
            task = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            task.cancel()
            await task
        case {"do": "group"}:
            async with asyncio.TaskGroup() as group:
                group.create_task(told_to_fail())
        case {"do": "large", "count": count, "size": size}:
            await told_to_go_on()
            for number in range(count):
                await request.send([number, os.urandom(size // 2).hex()])
        case {"do": "cancel"}:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        case payload:
            await request.send({"got": payload, "error": request.error})
            process.log.info("handled")


async def told_to_fail() -> None:
    raise ValueError("as told")


async def told_to_go_on() -> None:
    go_on = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go_on.set)
    process.log.info("busy")
    await go_on.wait()


@process.on("plain")
def plain(request: Request) -> None:
    for number in range(3):
        request.send([number, request.payload])


@process.on()
async def rest(request: Request) -> None:
    await request.send(f"the rest: {request.sender}")


if __name__ == "__main__":
    process.run()
