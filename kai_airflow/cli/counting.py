"""How far a long count is, on standard error: one line that changes at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from kai_airflow.cli.terminal import tell

LIVE, SELDOM = 0.2, 10.0  # seconds between two looks


class Count:
    """Of ``total`` things, or of nobody knows how many."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total = what, total
        self._live = sys.stderr.isatty()
        self._told = time.monotonic() if not self._live else 0.0
        self._shown = False

    def at(self, number: int) -> None:
        """So far."""
        now = time.monotonic()
        if now - self._told < (LIVE if self._live else SELDOM):
            return
        self._told, self._shown = now, True
        line = f"{number}{f' of {self._total}' if self._total is not None else ''} {self._what}"
        if self._live:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            tell(line)

    def over(self) -> None:
        """Clear the line for what comes."""
        if self._live and self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
