"""What a container prints: a file on disk, each line with its time before it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from kai_airflow.local.kubernetes.query import LogQuery

MAX_LINE = 1 << 20
"""Bytes after which a line is broken in two."""

_BLOCK = 1 << 16
_TIME = len("2006-01-02T15:04:05.000000000Z ")


class Log:
    """The log of one container, made by `fill`; any number of readers may follow it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ended = False
        self._more = asyncio.Event()
        file.touch(mode=0o600)

    async def fill(self, output: asyncio.StreamReader) -> None:
        """Write the output to its end. Both streams of a container are one, so their order is kept."""
        rest = b""
        with self._file.open("ab") as file:
            while block := await output.read(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                if len(rest) > MAX_LINE:
                    lines, rest = [*lines, rest], b""
                self._write(file, [line + b"\n" for line in lines])
            self._write(file, [rest] if rest else [])

    def close(self) -> None:
        """The container has ended: followers end when they have read everything."""
        self._ended = True
        self._wake()

    def remove(self) -> None:
        """Take the file away; who reads it reads on."""
        self._file.unlink(missing_ok=True)

    async def read(self, query: LogQuery) -> AsyncIterator[bytes]:
        """The part of the log that the query asks for, in blocks; with `follow` until the container has ended."""
        since, left = _since(query), query.limit
        with self._file.open("rb") as file:
            file.seek(_tail(file, query.tail))
            while True:
                ended, more = self._ended, self._more  # before reading: what comes later is read next time
                while left != 0 and (lines := file.readlines(_BLOCK)):
                    block = b"".join(line[_skip(query) :] for line in lines if line[: _TIME - 1] >= since)[:left]
                    left = None if left is None else left - len(block)
                    yield block
                    await asyncio.sleep(0)  # a long log must not hold up the server
                if ended or not query.follow or left == 0:
                    return
                await more.wait()

    def _write(self, file: BinaryIO, lines: list[bytes]) -> None:
        stamp = nanoseconds(time.time_ns()) + b" "
        file.writelines(stamp + line for line in lines)
        file.flush()
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def nanoseconds(moment: int) -> bytes:
    """A time in ns since 1970 as RFC 3339 with nine digits: its texts sort as the times do."""
    seconds = datetime.fromtimestamp(moment // 10**9, UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{moment % 10**9:09d}Z".encode()


def _since(query: LogQuery) -> bytes:
    moment = query.since
    if query.seconds is not None:
        moment = datetime.now(UTC) - timedelta(seconds=min(query.seconds, time.time()))
    return nanoseconds(max(0, int(moment.timestamp() * 10**6)) * 1000) if moment else b""


def _skip(query: LogQuery) -> int:
    return 0 if query.timestamps else _TIME


def _tail(file: BinaryIO, lines: int | None) -> int:
    """Where the last `lines` lines begin, found from the end of the file; None: all of them."""
    if lines is None:
        return 0
    end = position = file.seek(0, os.SEEK_END)
    newlines = lines + (_byte(file, end - 1) == b"\n")  # how many to pass, going back
    while newlines and position > 0:
        position = max(0, position - _BLOCK)
        file.seek(position)
        block = file.read(min(_BLOCK, end - position))
        found = block.count(b"\n")
        if found >= newlines:
            return position + len(b"\n".join(block.split(b"\n")[: found - newlines + 1])) + 1
        newlines -= found
        end = position
    return position


def _byte(file: BinaryIO, place: int) -> bytes:
    file.seek(max(0, place))
    return file.read(1)
