"""A container's log stream cut into lines, each given once, however often the stream has to be opened again. Pure.

What tells where an earlier stream broke off is the last line that was given, found again by its time, which has
nanoseconds, and by its number among lines of the same time (some nodes stamp whatever they read at once alike).
Seconds are too coarse for that, and the clocks of worker and node may differ, so a log that is asked for from some
seconds ago is trusted only if that line is in it.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# A line without an end would fill the worker's memory: it is given in pieces of this many bytes.
LONGEST = 64 * 1024

# A kubelet writes lines of its own into a log, without a time.
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")


class _Moment(NamedTuple):
    """Seconds since 1970, and nanoseconds."""

    seconds: int
    nanoseconds: int


class _Torn(NamedTuple):
    """The beginning of a line whose end the stream didn't bring."""

    moment: _Moment
    text: bytes


class Lines:
    """What was read of a log so far. Each line comes as ``TIMESTAMP TEXT``, as the Kubernetes API gives it."""

    def __init__(self) -> None:
        # The line that is being read: what wasn't given of it, whether it is past its beginning, has a time, is wanted,
        # and how many of its bytes to skip.
        self._rest = b""
        self._inside = False
        self._stamped = True
        self._wanted = True
        self._skip = 0
        # The last line that was given: its time, its number among those of that time, how many of its bytes, and
        # whether these are all. Before a clock was set back, times may have been higher.
        self._last: _Moment | None = None
        self._number = 0
        self._given = 0
        self._whole = True
        self._highest: _Moment | None = None
        # While a reopened log repeats what was given: how many lines of the last one's time are left.
        self._repeating = False
        self._to_pass = 0
        self._complete = True
        self._torn: _Torn | None = None
        self._own = ""
        self.lost = False
        """The log begins after the last line that was given: open it again, and it is asked for from its start."""
        self.gaps = 0
        """How often even the whole log had no trace of that line: its node has thrown the older part away."""

    def reopened(self, now: float) -> int | None:
        """Begin again, and say from how many seconds ago the log is needed; None is from its start."""
        self._torn = self._torn_off()
        self._rest, self._inside, self._skip = b"", False, 0
        self._repeating, self._to_pass = self._last is not None, self._number
        self._complete = self.lost or self._last is None
        self.lost = False
        if self._complete or self._last is None:
            return None
        return max(1, math.ceil(now) - self._last.seconds + 1)

    def split(self, chunk: bytes) -> Iterator[str]:
        """The lines that this chunk completes, and none after it has ``lost`` its place."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for raw in whole:
            yield from self._line(raw)
        while len(self._rest) > LONGEST and not self.lost:
            piece, self._rest = _cut(self._rest)
            yield from self._piece(piece, last=False)

    def ended(self) -> Iterator[str]:
        """What is left when the log won't be opened again: a last line without an end."""
        if self._rest:
            raw, self._rest = self._rest, b""
            yield from self._line(raw)
        if self._torn:
            yield _text(self._torn.text)
            self._torn = None

    def _line(self, raw: bytes) -> Iterator[str]:
        while len(raw) > LONGEST:
            piece, raw = _cut(raw)
            yield from self._piece(piece, last=False)
        yield from self._piece(raw, last=True)

    def _piece(self, raw: bytes, *, last: bool) -> Iterator[str]:
        goes_on = self._inside
        if not goes_on:
            moment, raw = _stamped(raw)
            self._begin(moment, raw)
            goes_on = self._skip > 0
            if self._wanted and moment:
                yield from self._recalled(moment)
        text = raw[self._skip :]
        self._inside, self._skip = not last, 0 if last else max(0, self._skip - len(raw))
        if not self._wanted:
            return
        if self._stamped:
            self._given, self._whole = self._given + len(text), last
        if text or not goes_on:
            yield _text(text).rstrip("\r") if last else _text(text)

    def _begin(self, moment: _Moment | None, text: bytes) -> None:
        self._stamped = moment is not None
        self._wanted = not self.lost and (self._is_new(moment) if moment else self._is_news(text))

    def _is_new(self, moment: _Moment) -> bool:
        """Whether this line, or the end of it, was not given yet."""
        if self._repeating:
            if moment == self._last:
                return self._is_beyond_last()
            if self._highest and moment <= self._highest and self._to_pass == self._number:
                return False
            if self._has_lost_its_place():
                return False
        self._repeating = False
        self._number = self._number + 1 if moment == self._last else 1
        self._last, self._given = moment, 0
        self._highest = max(self._highest or moment, moment)
        return True

    def _is_beyond_last(self) -> bool:
        self._to_pass -= 1
        if self._to_pass:
            return False
        self._repeating = False
        if not self._whole:
            self._skip = self._given
        return not self._whole

    def _has_lost_its_place(self) -> bool:
        """A line of a later time, and the last one that was given didn't come before it."""
        if self._to_pass < self._number:
            return False
        self.lost = not self._complete
        self.gaps += self._complete
        return self.lost

    def _is_news(self, raw: bytes) -> bool:
        """Lines without a time: a kubelet's own, told at each reopening, or the end of one that began too early."""
        text = _text(raw)
        if self._repeating or text == self._own:
            return False
        self._own = text
        return True

    def _torn_off(self) -> _Torn | None:
        if self._repeating or not self._rest:
            return self._torn
        if self._inside:
            return _Torn(self._last, self._rest) if self._wanted and self._stamped and self._last else self._torn
        moment, text = _stamped(self._rest)
        return _Torn(moment, text) if moment and text else self._torn

    def _recalled(self, moment: _Moment) -> Iterator[str]:
        """What was torn off, unless it has come again, whole: the line after it shows."""
        torn, self._torn = self._torn, None
        if torn and torn.moment != moment:
            yield _text(torn.text)


def _cut(raw: bytes) -> tuple[bytes, bytes]:
    """Not inside a character."""
    end = next((end for end in range(LONGEST, LONGEST - 4, -1) if raw[end] & 0xC0 != 0x80), LONGEST)
    return raw[:end], raw[end:]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace")


def _stamped(raw: bytes) -> tuple[_Moment | None, bytes]:
    """A line's time and its text. RFC 3339 with up to nine digits of a second and any offset, as the node writes it."""
    found = _STAMP.match(raw)
    if found is None:
        return None, raw
    try:
        seconds = _seconds(found[1].decode(), found[3].decode())
    except ValueError:  # the 42nd of a month
        return None, raw
    return _Moment(seconds, int((found[2] or b"").ljust(9, b"0"))), raw[found.end() :]


@lru_cache(maxsize=8)
def _seconds(second: str, offset: str) -> int:
    """Of a flood, thousands of lines bear the same second."""
    return int(datetime.fromisoformat(second + offset.replace("Z", "+00:00")).timestamp())
