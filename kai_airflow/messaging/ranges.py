"""Sequences as text: ``5-7,9`` is 5, 6, 7 and 9. A hundred thousand that follow each other are a few bytes. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MOST = 10_000_000  # numbers: a few bytes must not fill the memory


def to_text(sequences: Iterable[int]) -> str:
    """Rising numbers as ranges."""
    # Numbers that follow each other keep their distance from their place in the list.
    runs = groupby(enumerate(sequences), key=lambda placed: placed[1] - placed[0])
    return ",".join(_run([number for _, number in run]) for _, run in runs)


def from_text(text: str, most: int = MOST) -> tuple[int, ...]:
    """The numbers, rising. Raises ValueError for what :func:`to_text` doesn't write, and for more than ``most``."""
    found: list[int] = []
    for run in text.split(",") if text else ():
        first, dash, last = run.partition("-")
        begin, end = int(first), int(last if dash else first)
        if not (found[-1] if found else 0) < begin <= end:
            raise ValueError(f"{run!r}: no rising numbers from 1 on")
        if len(found) + end - begin >= most:
            raise ValueError(f"more than {most} numbers")
        found += range(begin, end + 1)
    return tuple(found)


def _run(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
