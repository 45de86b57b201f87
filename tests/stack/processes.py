"""The processes of the end-to-end tests, by name: ``python processes.py NAME``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError

from kai_airflow.process import Process, Request

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

process = Process()


async def echo(request: Request) -> None:
    """Answers with everything that a KRT says to a process, as it arrived there."""
    buckets = {scope: await values(bucket) for scope, bucket in process.buckets.items() if scope != "global"}
    await request.send({"config": dict(process.config), "buckets": buckets, "payload": request.payload})


async def values(bucket: KeyValue) -> dict[str, str]:
    return {key: ((await bucket.get(key)).value or b"").decode() for key in await bucket.keys()}


async def refuse(request: Request) -> None:
    """Fails with every request."""
    await request.send_error(f"cannot work on {request.payload}")


async def forward(request: Request) -> None:
    """Passes its request on."""
    await request.send(request.payload)


async def flip(request: Request) -> None:
    """Passes its request on, on channel left at first and on channel right at its next start."""
    bucket = process.buckets["global"]
    try:
        await bucket.get("flipped")
        channel = "right"
    except KeyNotFoundError:
        await bucket.put("flipped", b"yes")
        channel = "left"
    await request.send({"id": request.id, "payload": request.payload}, channel=channel)


if __name__ == "__main__":
    process.on()({"echo": echo, "refuse": refuse, "forward": forward, "flip": flip}[sys.argv[1]])
    process.run()
