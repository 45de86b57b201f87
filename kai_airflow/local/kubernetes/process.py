"""A container's processes, seen from the server."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL

from kai_airflow.local.errors import StackError

_SHIM = str(Path(__file__).with_name("shim.py"))


class StartError(StackError):
    """A container's command that can't be run."""


class Process:
    """A running container: the process group that shim.py runs. See there for what the two say to each other."""

    def __init__(self, shim: asyncio.subprocess.Process, pid: int) -> None:
        self.pid = pid
        self._shim = shim

    @classmethod
    async def start(
        cls, words: Sequence[str], environment: Mapping[str, str], folder: Path | str, after: Sequence[str] = ()
    ) -> "Process":
        """Run the words with this environment, and nothing else, in the folder; then, always, the `after` words.

        Raises StartError.
        """
        shim_words = (sys.executable, "-I", "-S", _SHIM, str(folder), str(len(after)), *after, *words)
        try:
            shim = await asyncio.create_subprocess_exec(
                *shim_words, env=environment, start_new_session=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        except (OSError, ValueError) as error:  # too long; a NUL byte
            raise StartError(f"can't run {words[0]!r}: {error}") from error
        answer, text = _words(await _stream(shim.stdout).readline())
        if answer != "pid":
            await shim.communicate()
            raise StartError(f"can't run {words[0]!r} in {folder}: {text or 'the shim failed'}")
        return cls(shim, int(text))

    @property
    def output(self) -> asyncio.StreamReader:
        """What the container prints, both streams in order; ends when all its processes are gone."""
        return _stream(self._shim.stderr)

    def signal(self, number: int) -> None:
        """Signal the process group; nothing happens when it has ended."""
        if self._shim.stdin is not None and self._shim.returncode is None:
            self._shim.stdin.write(bytes([number]))

    async def wait(self) -> int:
        """The exit code, negative for a signal, once every process is gone."""
        answer, text = _words(await _stream(self._shim.stdout).readline())
        await self._shim.wait()
        return int(text) if answer == "exit" else -SIGKILL  # the shim was killed, and its child with it


def _stream(reader: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if reader is None:
        raise StartError("the shim was started without pipes")
    return reader


def _words(line: bytes) -> tuple[str, str]:
    first, _, rest = line.decode().strip().partition(" ")
    return first, rest
