"""What the parts of a stack print, one after another or as it comes."""

from __future__ import annotations

import heapq
import os
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from kai_airflow.local.home import Home

# "2026-11-25T17:51:31.276927Z", "[3972] 2026/11/25 17:51:22.687120", "2026-11-25 17:51:23.190 UTC": all of them UTC.
TIME = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)")
HEAD = 50  # characters in which a line's time is looked for
SUFFIX = ".log"


@dataclass(frozen=True)
class Line:
    """A line that a part printed, without its end."""

    part: str
    text: str


def parts(home: Home) -> list[str]:
    """The parts that have a log. Raises StackError where there is no such home."""
    home.require()
    return sorted(file.stem for file in home.logs.glob(f"*{SUFFIX}"))


def merged(printed: Mapping[str, Iterable[str]]) -> Iterator[Line]:
    """The lines of all parts in the order of their times; a line without one stays with its part's line before."""
    streams = [_timed(part, lines) for part, lines in printed.items()]
    return (line for _, line in heapq.merge(*streams, key=lambda timed: timed[0]))


def _timed(part: str, lines: Iterable[str]) -> Iterator[tuple[str, Line]]:
    latest, early = "", []
    for text in lines:
        latest = max(latest, moment(text))
        early.append(Line(part, text))
        if latest:  # before the first line with a time there may be a banner
            yield from ((latest, line) for line in early)
            early = []
    yield from ((latest, line) for line in early)


def moment(text: str) -> str:
    """The time that a log line begins with, as a text that sorts as times do; empty where there is none."""
    found = TIME.search(text, 0, HEAD)
    return "{}-{}-{}T{}".format(*found.groups()) if found else ""


class Reader:
    """Reads the logs of some parts, on from where it has come to. A context manager.

    ``wanted``: the parts; all that there are, or will be, where it is empty. Raises StackError for an unknown one.
    """

    def __init__(self, home: Home, wanted: Sequence[str] = ()) -> None:
        known = parts(home)
        for part in wanted:
            if part not in known:
                listed = ", ".join(known) or "none yet"
                raise StackError(f"{home.path}: no part {part!r} has a log. Remedy: name one that does: {listed}.")
        self._home, self._wanted = home, tuple(wanted)
        self._logs: dict[str, _Log] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for log in self._logs.values():
            log.close()

    def read(self, last: int | None = None, *, unfinished: bool = False) -> Iterator[Line]:
        """What has been printed since the last call; of each part only the ``last`` lines of it, if given.

        ``unfinished``: also what there is of a line that isn't at its end.
        """
        wanted = self._wanted or parts(self._home)
        return merged({part: _last(self._log(part).read(unfinished=unfinished), last) for part in wanted})

    def _log(self, part: str) -> _Log:
        if part not in self._logs:
            self._logs[part] = _Log(self._home.logs / f"{part}{SUFFIX}")
        return self._logs[part]


class _Log:
    """A log that grows, and is replaced when a new ``up`` begins."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._rest = path, path.open("rb"), b""

    def close(self) -> None:
        self._file.close()

    def read(self, *, unfinished: bool) -> Iterator[str]:
        yield from self._lines()
        if self._replaced():
            yield from self._rest_of_line()
            self._file.close()
            self._file = self._path.open("rb")
            yield from self._lines()
        if unfinished:
            yield from self._rest_of_line()

    def _rest_of_line(self) -> Iterator[str]:
        if self._rest:
            yield _text(self._rest)
        self._rest = b""

    def _lines(self) -> Iterator[str]:
        for piece in self._file:
            self._rest += piece
            if piece.endswith(b"\n"):
                yield from self._rest_of_line()

    def _replaced(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False  # not yet


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")


def _last(lines: Iterator[str], count: int | None) -> Iterable[str]:
    return lines if count is None else deque(lines, count)
