"""How far the stack is: live lines at a terminal, a line for each event elsewhere."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from kai_airflow.local.progress import Progress


def reporter(console: Console) -> Progress:
    """Reports in the way that suits the console."""
    return LiveLines(console) if console.is_terminal else Lines(console)


class Lines:
    """A line when a part is ready."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def starting(self, part: str) -> None:
        """Nothing: the line comes when the part is ready."""

    def ready(self, part: str, seconds: float) -> None:
        """Say so."""
        self._console.print(f"{part} ready ({seconds:.1f} s)", highlight=False)

    def healthy(self) -> None:
        """Nothing: each part has its line."""

    def ended(self, part: str, how: str) -> None:
        """Say so."""
        self._console.print(f"{part} ended with {how}, restarting", highlight=False)

    def restarted(self, part: str, seconds: float) -> None:
        """Say so."""
        self._console.print(f"{part} ready again ({seconds:.1f} s)", highlight=False)

    def stopping(self) -> None:
        """Say so."""
        self._console.print("stopping")


class LiveLines:
    """A line for each part from its start on, with the seconds that it takes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()  # the display draws in a thread of its own
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._drawn)

    def starting(self, part: str) -> None:
        """Show the part."""
        with self._lock:
            self._began[part] = time.monotonic()
        self._live.start()

    def ready(self, part: str, seconds: float) -> None:
        """Tick it off."""
        with self._lock:
            self._took[part] = seconds

    def healthy(self) -> None:
        """Leave the lines as they are."""
        self._live.stop()

    def ended(self, part: str, how: str) -> None:
        """A line below."""
        self._console.print(f"[red]✗[/] {part} ended with {how}, restarting", highlight=False)

    def restarted(self, part: str, seconds: float) -> None:
        """A line below."""
        self._console.print(f"[green]✓[/] {part} ready again [dim]{seconds:.1f} s[/]", highlight=False)

    def stopping(self) -> None:
        """Leave the lines as they are, and say so."""
        self._live.stop()
        self._console.print("stopping", style="dim")

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for part, began in self._began.items():
                took = self._took.get(part)
                mark = self._spinner if took is None else "[green]✓[/]"
                table.add_row(mark, part, f"[dim]{time.monotonic() - began if took is None else took:.1f} s[/]")
        return table
