"""Being cancelled, for loops that ask NATS."""

from __future__ import annotations

import asyncio


def heed_cancel() -> None:
    """Raise CancelledError where this task was cancelled: for a loop that would go on forever otherwise.

    Up to Python 3.11 ``asyncio.wait_for``, by which the NATS client waits for each answer, returns the answer and
    swallows a cancel that comes at the same moment (python/cpython#86296).

    Not for a task that opens a TaskGroup: up to the same Python it counts as cancelled when one of the group fails.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
