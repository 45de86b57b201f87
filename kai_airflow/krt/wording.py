"""How messages show what a file says: on one line, short, without control characters, and without passwords."""

from __future__ import annotations

import difflib
import itertools
from typing import TYPE_CHECKING

from kai_airflow.krt.sensitive import hide_assigned, hide_userinfo

if TYPE_CHECKING:
    from collections.abc import Collection

_LONGEST_QUOTE = 60
_LONGEST_SEARCH = 4096
_LONGEST_LOCATION = 300
# Looking for a near miss costs about 10 microseconds a candidate; a hostile file has thousands of both.
MOST_CANDIDATES = 60
_LONGEST_WORD = 60


def printable(text: str, longest: int = _LONGEST_LOCATION) -> str:
    """Text fit for one line of a terminal or log: clipped, what can't be printed escaped."""
    clipped = text if len(text) <= longest else text[:longest] + "..."
    if clipped.isprintable():
        return clipped
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clipped)


def quoted(text: str) -> str:
    """Text of a file, in quotes, for a message."""
    return f"'{printable(hide_userinfo(hide_assigned(text[:_LONGEST_SEARCH])), _LONGEST_QUOTE)}'"


def listed(words: Collection[str], joint: str = "or") -> str:
    """``a, b or c``; of more than ten, the first ten."""
    shown = [printable(word, _LONGEST_QUOTE) for word in itertools.islice(words, 10)]
    if len(words) > len(shown):
        return f"{', '.join(shown)}, ..."
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {joint} {shown[-1]}"


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: str, candidates: Collection[str]) -> str | None:
    """The candidate that was probably meant, whatever its case."""
    if len(word) > _LONGEST_WORD or len(candidates) > MOST_CANDIDATES:
        return None
    folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def choice(word: str, candidates: Collection[str]) -> str:
    """A remedy for a word that isn't one of the candidates."""
    meant = nearest(word, candidates)
    if meant is None:
        return f"Use {listed(candidates)}."
    others = f" It may be {listed(candidates)}." if len(candidates) > 1 else ""
    return f"Did you mean {printable(meant, _LONGEST_QUOTE)}?{others}"
