"""The processes of the end-to-end tests, by name: ``python processes.py NAME``."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError

from kai_airflow.messaging.errors import MessageTooLargeError
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


async def split(request: Request) -> None:
    """Makes many requests of one, with ids of their own."""
    for n in range(request.payload["count"]):
        await request.send({"n": n}, request_id=f"r-{n}")


async def work(request: Request) -> None:
    """Doubles a number and writes down that it did, as slowly as its config says, and dies once where it says so."""
    config = process.config
    n = request.payload["n"]
    write_down(config["ledger"], n)
    await asyncio.sleep(float(config.get("delay", "0")))
    if n == int(config.get("dies_before_ack_of", "-1")) and first_time(config["ledger"]):
        os._exit(3)
    if n == int(config.get("dies_after_ack_of", "-1")) and first_time(config["ledger"]):
        # Within the time in which nothing more may come for the try to be done.
        asyncio.get_running_loop().call_later(0.05, os._exit, 3)
    if n == int(config.get("refuses_once", "-1")) and first_time(config["ledger"]):
        await request.send_error(f"not yet: {n}")
        return
    await request.send({"n": 2 * n})


def write_down(ledger: str, n: int) -> None:
    with Path(ledger).open("a") as file:
        file.write(f"{os.getpid()} {n}\n")


def first_time(ledger: str) -> bool:
    try:
        Path(f"{ledger}.once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


async def many(request: Request) -> None:
    """Answers three times for each request, on two channels, and not at all for every fifth."""
    n = request.payload["n"]
    if n % 5:
        await request.send({"n": n})
        await request.send({"n": n})
        await request.send({"n": n}, channel="more")


async def grumble(request: Request) -> None:
    """Answers every third request with an error."""
    n = request.payload["n"]
    if n % 3:
        await request.send({"n": n})
    else:
        await request.send_error(f"don't like {n}")


async def too_large(request: Request) -> None:
    """Publishes as KAI's SDKs do: what is too large is left out, with a line in the log, and acked all the same."""
    n = request.payload["n"]
    noise = random.Random(n).randbytes(8 << 20 if n == 1 else 10).hex()
    try:
        await request.send({"n": n, "noise": noise})
    except MessageTooLargeError as error:
        sys.stdout.write(f"left out: {error}\n")


async def flood(request: Request) -> None:
    """Prints far more than a log takes, and an error in the middle."""
    for n in range(200_000):
        sys.stdout.write(f"line {n} of a flood\n")
        if n == 100_000:
            process.log.error("in the middle of it")
    await request.send(request.payload)


async def mark(request: Request) -> None:
    """Takes its time for a call, and says who it is."""
    said = json.loads(base64.b64decode(request.payload["body"]))
    await asyncio.sleep(0.02)
    await request.send({"number": said["number"], "mark": process.config["mark"]})


async def answer(request: Request) -> None:
    """Answers a call with all that came."""
    if request.error:
        await request.send_error(request.error)
    else:
        await request.send({"status_code": "200", "message": json.dumps(request.payload)})


if __name__ == "__main__":
    handlers = (echo, refuse, forward, flip, split, work, many, grumble, too_large, flood, mark, answer)
    process.on()(next(handler for handler in handlers if handler.__name__ == sys.argv[1]))
    process.run()
