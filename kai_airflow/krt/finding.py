"""The KRT files of a folder."""

from __future__ import annotations

import os
from collections import deque
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kai_airflow.krt.product_name import FILE, SUFFIX

if TYPE_CHECKING:
    from pathlib import Path


def find(folder: Path) -> list[PurePosixPath]:
    """Every ``krt.yaml`` and ``*.krt.yaml`` below a folder, relative to it and sorted.

    Hidden files and folders are skipped. Links to folders are followed, but each folder is searched once, by its own
    path rather than by a link's. What isn't there, or can't be listed, holds none.
    """
    found: list[PurePosixPath] = []
    searched: set[tuple[int, int]] = set()
    folders, links = deque([""]), deque[str]()
    while folders or links:
        below = folders.popleft() if folders else links.popleft()
        for entry in _unsearched(os.path.join(folder, below), searched):  # noqa: PTH118 - thousands of Paths take their time
            path = f"{below}/{entry.name}" if below else entry.name
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif entry.name == FILE or entry.name.endswith(SUFFIX):
                found.append(PurePosixPath(path))
    return sorted(found)


def _unsearched(folder: str, searched: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """The entries of a folder by name, nothing where it was searched before or can't be."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - as above
        identity = (status.st_dev, status.st_ino)
        if identity in searched:
            return []
        searched.add(identity)
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
