"""The memory of a bridge after some messages, and after more: ``bridging.py NATS FIRST LAST``, in megabytes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from benchmarks import bridge
from kai_airflow.messaging.connection import connect


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def main(url: str, counts: list[int]) -> list[float]:
    """Bridge until so many messages have become runs, and look."""
    airflow, workflow = bridge.Instant(), bridge.workflow_of(bridge.krt_of("memory"))
    found = []
    async with connect(url, name="bridging") as connection, bridge.served(connection, airflow, workflow):
        for count in counts:
            await airflow.started(count)
            found.append(resident())
    return found


if __name__ == "__main__":
    found = asyncio.run(main(sys.argv[1], [int(one) for one in sys.argv[2:]]))
    sys.stdout.write(json.dumps(found) + "\n")
