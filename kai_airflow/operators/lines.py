"""A container's log stream cut into lines, each given once, however often the stream has to be opened again. Pure."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A line without an end would fill the worker's memory: it is given in pieces of this many bytes.
LONGEST = 64 * 1024


class Lines:
    """What was read of a log so far. Each line comes as ``TIMESTAMP TEXT``, as the Kubernetes API gives it."""

    def __init__(self) -> None:
        self._rest = b""
        self._inside_a_line = False
        self._last = ""
        self._given_of_last = 0
        self._resumed_at = ""
        self._to_skip = 0

    def reopened(self, now: float) -> int | None:
        """Begin again, and say from how many seconds ago the log is needed; None is from its start."""
        self._rest, self._inside_a_line = b"", False
        self._resumed_at, self._to_skip = self._last, self._given_of_last
        return max(1, math.ceil(now - _seconds(self._last)) + 1) if self._last else None

    def split(self, chunk: bytes) -> Iterator[str]:
        """The lines that this chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for raw in whole:
            yield from self._line(raw)
            self._inside_a_line = False
        if len(self._rest) > LONGEST:
            yield from self._line(self._rest)
            self._rest, self._inside_a_line = b"", True

    def ended(self) -> Iterator[str]:
        """The last line, where the stream ended without an end of line."""
        raw, self._rest = self._rest, b""
        if raw:
            yield from self._line(raw)

    def _line(self, raw: bytes) -> Iterator[str]:
        text = raw.decode("utf-8", errors="backslashreplace").rstrip("\r")
        if self._inside_a_line:
            yield text
            return
        stamp, _, text = text.partition(" ")
        if self._is_new(stamp):
            yield text

    def _is_new(self, stamp: str) -> bool:
        """Lines up to where an earlier stream broke off have been given; several may bear the same time."""
        if stamp < self._resumed_at:
            return False
        if stamp == self._resumed_at and self._to_skip:
            self._to_skip -= 1
            return False
        self._given_of_last = self._given_of_last + 1 if stamp == self._last else 1
        self._last = stamp
        return True


def _seconds(stamp: str) -> float:
    """RFC 3339 with nanoseconds, of which Python reads six digits."""
    return datetime.fromisoformat(stamp.rstrip("Z")[:26] + "+00:00").timestamp()
