"""Who wants to know how far a stack is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of each part. Called in a thread of the stack's own."""

    def starting(self, part: str) -> None:
        """A part is being started."""

    def ready(self, part: str, seconds: float) -> None:
        """A part is well, ``seconds`` after it was started."""

    def healthy(self) -> None:
        """All parts are well."""

    def stopping(self) -> None:
        """All parts are being stopped."""


class Silence:
    """A Progress that tells nobody."""

    def starting(self, part: str) -> None:
        """Nothing."""

    def ready(self, part: str, seconds: float) -> None:
        """Nothing."""

    def healthy(self) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""
