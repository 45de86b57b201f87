"""The process that is measured: ``python program.py STAMPS``. It answers each request after ``config.seconds``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.process import Process

if TYPE_CHECKING:
    from kai_airflow.process import Request

process = Process()


@process.on()
async def answer(request: Request) -> None:
    """Answer, and write down when it was taken in hand and when answered: the last act before its ack."""
    stamp()
    await asyncio.sleep(float(process.config["seconds"]))
    await request.send(request.payload)
    stamp()


def stamp() -> None:
    """Write down the time, as ``date +%s%N`` does."""
    with Path(sys.argv[1], process.config["stamps"]).open("a") as file:
        file.write(f"{time.time_ns()}\n")


if __name__ == "__main__":
    process.run()
