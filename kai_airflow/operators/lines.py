"""A container's log stream cut into lines, each given once, however often the stream has to be opened again. Pure."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A line without an end would fill the worker's memory: it is given in pieces of this many bytes.
LONGEST = 64 * 1024

# A kubelet writes lines of its own into a log, without a time.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

_Moment = tuple[int, int]
"""Seconds since 1970, and nanoseconds."""


class Lines:
    """What was read of a log so far. Each line comes as ``TIMESTAMP TEXT``, as the Kubernetes API gives it."""

    def __init__(self) -> None:
        self._rest = b""
        self._inside_a_line = False
        self._last: _Moment | None = None
        self._given_of_last = 0
        self._resumed_at: _Moment | None = None
        self._to_skip = 0

    def reopened(self, now: float) -> int | None:
        """Begin again, and say from how many seconds ago the log is needed; None is from its start."""
        self._rest, self._inside_a_line = b"", False
        self._resumed_at, self._to_skip = self._last, self._given_of_last
        return max(1, math.ceil(now) - self._last[0] + 1) if self._last else None

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
        line = raw.decode("utf-8", errors="backslashreplace").rstrip("\r")
        stamp, _, text = line.partition(" ")
        moment = None if self._inside_a_line else _moment(stamp)
        if moment is None:
            yield line
        elif self._is_new(moment):
            yield text

    def _is_new(self, moment: _Moment) -> bool:
        """Lines up to where an earlier stream broke off have been given; several may bear the same time."""
        if self._resumed_at and moment < self._resumed_at:
            return False
        if moment == self._resumed_at and self._to_skip:
            self._to_skip -= 1
            return False
        self._given_of_last = self._given_of_last + 1 if moment == self._last else 1
        self._last = moment
        return True


def _moment(stamp: str) -> _Moment | None:
    """RFC 3339 with up to nine digits of a second and any offset, as the node writes it."""
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return None
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(whole.timestamp()), int((found[2] or "").ljust(9, "0"))
