"""Lines for people: colours where there is a terminal, and nothing that it can't show or that could steer it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Paint = Callable[[str, str], str]

RED, YELLOW, GREEN, CYAN, DIM = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[36m", "\x1b[2m"

_LONGEST = 1000  # characters of a line that people read


def painter() -> Paint:
    """What puts text in a colour: at a terminal, unless the user refuses."""
    return _painted if sys.stdout.isatty() and "NO_COLOR" not in os.environ else _plain


def print_line(line: str) -> None:
    """Print a line; what the terminal's encoding lacks is escaped, so that no name can end the command."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def tell(text: str) -> None:
    """A line on standard error: how far it is, what it waits for, what to know about what it prints."""
    from kai_airflow.krt.wording import printable

    encoding = sys.stderr.encoding or "utf-8"
    line = printable(text, len(text)).encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=sys.stderr, flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines without colours; what isn't printable in them is escaped, too."""
    for line in lines:
        print_line(readable(line))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns, as wide as what is in them; the last one isn't filled up."""
    whole = [heads, *rows]
    widths = [max(len(row[at]) for row in whole) for at in range(len(heads) - 1)]
    return [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in whole
    ]


def readable(text: str) -> str:
    """Text of a file, on one line and not too long."""
    from kai_airflow.krt.wording import printable

    return printable(text, _LONGEST)


def _painted(colour: str, text: str) -> str:
    return f"{colour}{text}\x1b[0m"


def _plain(_colour: str, text: str) -> str:
    return text
