"""Starts parts and stops all of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kai_airflow.local import remains
from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from types import TracebackType

GUARD = Path(__file__).with_name("guard.py")
TAIL = 20  # lines of a dead part's log that are shown
TAIL_BYTES = 64 << 10
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
KILL_TIME = 5.0  # seconds beyond a part's grace for its guard to end what is left


@dataclass(frozen=True)
class Part:
    """A program of the stack. ``rank``: those of the highest are stopped first, those of one rank together.

    A part may need those of a lower rank, never those of its own or a higher one.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    rank: int = 0
    grace: float = 5.0  # seconds to end in by itself when asked to
    stop_signal: signal.Signals = signal.SIGTERM


class PartEndedError(StackError):
    """A part ended that should run; ``code`` is its exit code, 128 + n for signal n."""

    def __init__(self, part: Part, code: int, log: Path, times: int = 1) -> None:
        self.part, self.code = part.name, code
        often = f", {times} times within a minute" if times > 1 else ""
        super().__init__(f"{part.name} ended with {described(code)}{often}. Its log, {log}, ends with:\n{tail(log)}")


class Supervisor:
    """Runs parts, each below its guard. Leaving the context stops them all.

    :param logs: folder for what the parts print
    :param keep: descriptors that the guards inherit and keep open as long as they live
    """

    def __init__(self, logs: Path, keep: tuple[int, ...] = ()) -> None:
        self._logs, self._keep = logs, keep
        self._running: dict[str, tuple[Part, Process]] = {}

    async def __aenter__(self) -> Self:
        # Nobody writes: that its other end closes when this process ends, however it ends, is the message.
        self._lifeline, self._held = os.pipe()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            running = list(self._running.values())
            for rank in sorted({part.rank for part, _ in running}, reverse=True):
                await asyncio.gather(*(_stop(part, process) for part, process in running if part.rank == rank))
        finally:
            os.close(self._held)
            os.close(self._lifeline)
            await asyncio.to_thread(remains.kill, self._logs)  # of a part whose guard was killed

    async def start(self, part: Part) -> Process:
        """Start a part that is to run until the end, with a new log."""
        self._forget_log(part)
        return await self._spawn(part)

    async def restart(self, part: Part, code: int) -> Process:
        """Start a part again that ended with this exit code. Its log goes on, with a line that says so."""
        log = self.log(part.name)
        # Where its guard was killed, processes of it may be left.
        await asyncio.to_thread(remains.kill, log)
        with log.open("a") as file:
            file.write(f"{datetime.now(UTC):{TIME}} kai-airflow: {part.name} ended with {described(code)}, restarted\n")
        return await self._spawn(part)

    async def ended(self, process: Process) -> int:
        """Wait until a started part ends: its exit code, 128 + n for signal n."""
        return _code(await process.wait())

    async def run(self, part: Part) -> None:
        """Run a part that ends by itself. Raises PartEndedError when it fails."""
        self._forget_log(part)
        code = await self.ended(await self._spawn(part))
        del self._running[part.name]
        if code != 0:
            raise PartEndedError(part, code, self.log(part.name))

    def log(self, name: str) -> Path:
        """The log of the part with this name."""
        return self._logs / f"{name}.log"

    def _forget_log(self, part: Part) -> None:
        """A new file, not an emptied one: who follows the old one notices."""
        self.log(part.name).unlink(missing_ok=True)

    async def _spawn(self, part: Part) -> Process:
        log = self.log(part.name)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._guarded(part),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env={**part.environment, **remains.mark(log)},
                pass_fds=(self._lifeline, *self._keep),
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self._running[part.name] = part, process
        return process

    def _guarded(self, part: Part) -> list[str]:
        lifeline = ["--lifeline", str(self._lifeline)]
        end = ["--stop-signal", str(int(part.stop_signal)), "--grace", str(part.grace)]
        return [sys.executable, "-I", "-S", str(GUARD), *lifeline, *end, "--", *part.command]


async def _stop(part: Part, process: Process) -> None:
    if process.returncode is not None:
        return  # it waits for its restart, and its id may be another program's by now
    with suppress(ProcessLookupError):
        # Not process.terminate(): that collects the exit code of a process that just ended, and asyncio misses it.
        os.kill(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), part.grace + KILL_TIME)
    except TimeoutError:
        process.kill()  # the guard itself hangs: the part dies with it
        await process.wait()


def tail(file: Path, lines: int = TAIL) -> str:
    """The last lines of a log, of a file that may be long or missing."""
    try:
        with file.open("rb") as stream:
            stream.seek(-min(TAIL_BYTES, file.stat().st_size), os.SEEK_END)
            text = stream.read().decode(errors="replace")
    except OSError as error:
        return f"({error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(nothing)"


def _code(code: int) -> int:
    return code if code >= 0 else 128 - code


def described(code: int) -> str:
    """An exit code in words, with the signal that it stands for."""
    if code <= 128:
        return f"exit code {code}"
    try:
        return f"exit code {code} ({signal.Signals(code - 128).name})"
    except ValueError:
        return f"exit code {code}"
