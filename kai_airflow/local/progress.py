"""Who wants to know how far a stack is."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Hears of each part. Called in a thread of the stack's own."""

    def starting(self, part: str) -> None:
        """A part is being started."""

    def ready(self, part: str, seconds: float) -> None:
        """A part is well, ``seconds`` after it was started."""

    def healthy(self) -> None:
        """All parts are well."""

    def ended(self, part: str, how: str) -> None:
        """A part of the healthy stack ended by itself, and is started again; ``how``: its exit code in words."""

    def restarted(self, part: str, seconds: float) -> None:
        """It is well again, ``seconds`` after it ended."""

    def stopping(self) -> None:
        """All parts are being stopped."""


@contextmanager
def reported(progress: Progress, part: str) -> Iterator[None]:
    """Say that a part is being started, and when the block is over that it is well."""
    began = time.monotonic()
    progress.starting(part)
    yield
    progress.ready(part, time.monotonic() - began)


class Silence:
    """A Progress that tells nobody."""

    def starting(self, part: str) -> None:
        """Nothing."""

    def ready(self, part: str, seconds: float) -> None:
        """Nothing."""

    def healthy(self) -> None:
        """Nothing."""

    def ended(self, part: str, how: str) -> None:
        """Nothing."""

    def restarted(self, part: str, seconds: float) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""
