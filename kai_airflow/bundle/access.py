"""Who may read a copy: those who may read the original (P5 of docs/architecture.md)."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_NEVER_WRITABLE = 0o755
"""Nobody but the owner may write a copy: its module is code that Airflow runs."""


@dataclass(frozen=True)
class Access:
    """Mode bits, and the group that the group's bits are meant for."""

    mode: int
    group: int

    def fits(self, actual: os.stat_result) -> bool:
        """Whether a copy with this status lets the right ones in."""
        return stat.S_IMODE(actual.st_mode) == self._mode_for(actual.st_gid)

    def give(self, path: Path) -> None:
        """Let the right ones in; the group only where the copy could be given to it."""
        actual = path.stat()
        if actual.st_gid != self.group:
            actual = _handed_over(path, self.group)
        if not self.fits(actual):
            path.chmod(self._mode_for(actual.st_gid))

    def _mode_for(self, group: int) -> int:
        """To members of another group than the original's, the original shows what it shows to anybody."""
        others = (self.mode & stat.S_IRWXO) << 3
        return self.mode if group == self.group else self.mode & ~stat.S_IRWXG | others


PUBLIC = Access(0o644, os.getegid())
"""Of a file that tells nothing of a KRT."""

CLOSED = Access(stat.S_IRWXU, os.getegid())
"""Of a folder that follows none."""


def like(original: os.stat_result) -> Access:
    """The access of a file or folder, with the owner always let in and nobody else to write."""
    owner = stat.S_IRWXU if stat.S_ISDIR(original.st_mode) else stat.S_IRUSR
    return Access(original.st_mode & _NEVER_WRITABLE | owner, original.st_gid)


def like_root(folder: Path) -> Access:
    """The access of a folder with those above it counted in.

    It may be open to all and lie in a closed one (``/home/me``); its copy lies elsewhere (``/tmp``).
    """
    real = Path(os.path.realpath(folder))
    access = like(real.stat())
    mode = access.mode
    for above in real.parents:
        mode &= _passage(above.stat(), access.group)
    return Access(mode, access.group)


def _passage(above: os.stat_result, group: int) -> int:
    """The bits of those whom a folder lets through; a member of another group than the folder's is anybody."""
    others = stat.S_IRWXO if above.st_mode & stat.S_IXOTH else 0
    bit = stat.S_IXGRP if above.st_gid == group else stat.S_IXOTH
    return stat.S_IRWXU | others | (stat.S_IRWXG if above.st_mode & bit else 0)


def _handed_over(path: Path, group: int) -> os.stat_result:
    with contextlib.suppress(PermissionError):  # not a member of that group
        os.chown(path, -1, group)
    return path.stat()
