"""What is left of a part whose guard was killed: its processes, found by a mark in their environment.

A guard knows its part's processes by descent. With the guard gone they have a new parent, which tells nothing; the mark
is inherited by all that a part starts, unless it starts something with another environment.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "KAI_AIRFLOW_PART"
POLL = 0.01  # seconds
LOOKS = 2  # in vain, before none is left: a process that just becomes another program shows no environment
PATIENCE = 5.0  # seconds for killed processes to be gone; one that hangs in the kernel is nobody's to end


def mark(log: Path) -> dict[str, str]:
    """The environment by which a part's processes are known: its log, a file that is this part's alone."""
    # Without the second, a process that sets its title overwrites its environment with it.
    return {MARK: str(log.resolve()), "SPT_NOENV": "1"}


def processes(place: Path) -> set[int]:
    """The ids of all processes of the part with this log; of a folder of logs, those of all its parts."""
    wanted = place.resolve()
    return {process for process, log in _marked() if wanted in (log, log.parent)}


def kill(place: Path) -> int:
    """End these processes at once, where no guard does so any more. Gives their number."""
    seen: set[int] = set()
    looks, deadline = LOOKS, time.monotonic() + PATIENCE
    while looks and time.monotonic() < deadline:
        found = processes(place)
        for process in found:
            _kill(process)
        seen |= found
        looks = LOOKS if found else looks - 1
        time.sleep(POLL)
    return len(seen)


def _marked() -> Iterator[tuple[int, Path]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (log := _log(entry)) is not None:
            yield int(entry.name), log


def _log(entry: Path) -> Path | None:
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return None  # ended meanwhile, or another user's
    start = f"{MARK}=".encode()
    found = next((variable for variable in variables if variable.startswith(start)), None)
    return None if found is None else Path(os.fsdecode(found.removeprefix(start)))


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
