"""A process's output in Airflow's log: readable, each line at its level, and not more than a log can take.

A process may print without end. Airflow's log takes ``AT_ONCE`` characters of it and ``A_SECOND`` more for each second;
warnings and errors have something on top of that. What is too much is left out, except for the last lines before the
output pauses or ends, and the log says how much it was.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from kai_airflow.operators.readable import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.kube import PodName
    from kai_airflow.operators.readable import Readable

# Some 30,000 lines at once, which the UI shows in a moment, and ten a second for good: at most 180 MB a day.
AT_ONCE = 4 << 20
A_SECOND = 2 << 10
WARNINGS_AT_ONCE = 1 << 20
WARNINGS_A_SECOND = 512

# After a flood lines go on in stretches, not one by one with a note between any two: as soon as so much is free.
STRETCH = 128 << 10

# How many characters of the last lines before the end of a flood are shown.
LAST = 64 << 10

# What Airflow adds to a line: its time, its level, its logger.
_OVERHEAD = 100

# Cheaper than reading JSON, of which a flood may consist.
_SEEMS_BAD = re.compile(r'"level"\s*:\s*"(?:warn|err|d?panic|fatal|crit)', re.IGNORECASE)


class Log(Protocol):
    """What is asked of a logger, Airflow's or the standard library's."""

    def log(self, level: int, event: str, /) -> Any:
        """Write a line."""

    def isEnabledFor(self, level: int, /) -> bool:  # noqa: N802 - the standard library's name
        """Whether lines of this level are written."""


class Shown:
    """Takes the output lines of the process in a pod, one call each, and :meth:`ended` after the last."""

    def __init__(self, log: Log, pod: PodName, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._pod = pod
        self._all = _Allowance(AT_ONCE, A_SECOND, clock)
        self._bad = _Allowance(WARNINGS_AT_ONCE, WARNINGS_A_SECOND, clock)
        self._flooded = False
        self._explained = False
        self._left_out = _Amount()
        self._last = _LastLines()

    def __call__(self, line: str) -> None:
        """Show a line, or leave it out."""
        if self._flooded and self._all.has(STRETCH):
            self._end_flood()
        if not self._flooded:
            shown = readable(line)
            if self._all.take(_cost(shown.text)):
                self._write(shown)
                return
            self._begin_flood()
        if not self._is_bad_and_taken(line):
            self._left_out.add(self._last.push(line))

    def ended(self) -> None:
        """Show the last lines of what was left out, and say how much it was."""
        if self._flooded:
            self._end_flood()

    def _begin_flood(self) -> None:
        self._flooded = True
        if not self._explained:
            self._explained = True
            self._log.log(
                logging.WARNING,
                f"The process prints more than this log takes: {AT_ONCE} characters, and {A_SECOND} more a second. "
                f"Lines are left out from here on. While the pod lives, kubectl -n {self._pod.namespace} logs "
                f"{self._pod.name} has the latest of them.",
            )

    def _end_flood(self) -> None:
        self._flooded = False
        self._tell_left_out()
        for line in self._last.taken():
            shown = readable(line)
            self._all.take(_cost(shown.text))
            self._write(shown)

    def _is_bad_and_taken(self, line: str) -> bool:
        """A warning or an error has its place also in a flood."""
        if not self._bad.has(_cost(line)) or not _SEEMS_BAD.search(line):
            return False
        shown = readable(line)
        if shown.level < logging.WARNING or not self._bad.take(_cost(shown.text) + _OVERHEAD):
            return False
        self._left_out.add(self._last.taken())
        self._tell_left_out()
        self._write(shown)
        return True

    def _tell_left_out(self) -> None:
        if self._left_out.lines:
            self._log.log(logging.WARNING, f"{self._left_out} left out here.")
            self._left_out = _Amount()

    def _write(self, shown: Readable) -> None:
        if shown.level < logging.INFO and not self._log.isEnabledFor(shown.level):
            # Who has a process print at DEBUG wants to see it, and not Airflow's own DEBUG.
            self._log.log(logging.INFO, f"DEBUG {shown.text}")
        else:
            self._log.log(*shown)


class _Allowance:
    """So many characters at once, and so many more each second."""

    def __init__(self, most: int, a_second: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._a_second = a_second
        self._clock = clock
        self._left = float(most)
        self._at = clock()

    def has(self, amount: int) -> bool:
        """Whether so much is there now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._a_second)
        self._at = now
        return self._left >= amount

    def take(self, amount: int) -> bool:
        """Take it, if it is there."""
        if not self.has(amount):
            return False
        self._left -= amount
        return True


class _Amount:
    """How much was left out."""

    def __init__(self) -> None:
        self.lines = 0
        self.characters = 0

    def __str__(self) -> str:
        return f"{self.lines} line(s), {self.characters} characters,"

    def add(self, lines: list[str]) -> None:
        self.lines += len(lines)
        self.characters += sum(map(len, lines))


class _LastLines:
    """The last lines of a flood, as many as ``LAST`` characters are."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._size = 0

    def push(self, line: str) -> list[str]:
        """Keep this line; those that have no place any more."""
        self._lines.append(line)
        self._size += _cost(line)
        gone = []
        while self._size > LAST and len(self._lines) > 1:
            gone.append(self._lines.popleft())
            self._size -= _cost(gone[-1])
        return gone

    def taken(self) -> list[str]:
        """All of them, which are kept no longer."""
        lines = list(self._lines)
        self._lines.clear()
        self._size = 0
        return lines


def _cost(text: str) -> int:
    return len(text) + _OVERHEAD
