"""A folder that goes with the process that asked for it, however that ends, and not before all that works in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.local import janitor
from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(janitor.__file__)


@dataclass(frozen=True)
class Scratch:
    """The folder, for this user alone, and the descriptor of its lock: it stays until nobody has that open."""

    path: Path
    lock: int


@contextmanager
def scratch(prefix: str) -> Iterator[Scratch]:
    """A folder where the system has its temporary ones; gone afterwards, also when this process is killed.

    :raises StackError: there is no place for it
    """
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM), prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C at the terminal isn't for it
    )
    try:
        with _locked(_folder(keeper)) as found:
            yield found
    finally:
        _dismiss(keeper)


def _folder(keeper: subprocess.Popen[str]) -> Path:
    if keeper.stdout is None or not (said := keeper.stdout.readline()):
        raise StackError("can't make a temporary folder. Remedy: name a place for it in TMPDIR.")
    return Path(said.removesuffix("\n"))


@contextmanager
def _locked(folder: Path) -> Iterator[Scratch]:
    lock = os.open(folder / janitor.LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Scratch(folder, lock)
    finally:
        os.close(lock)


def _dismiss(keeper: subprocess.Popen[str]) -> None:
    """Tell it by closing its standard input, and wait."""
    while keeper.returncode is None:
        try:
            keeper.communicate()
        except KeyboardInterrupt:  # a second one doesn't leave half a folder behind
            continue
