"""What KRT files there are, and what has been generated already: two walks, nothing read, nothing written."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.bundle import access

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path, PurePosixPath

    from kai_airflow.bundle.access import Access


@dataclass(frozen=True, slots=True)
class Source:
    """A KRT file, by its path below the folder of KRT files, and its status (None: it can't be told)."""

    path: str
    status: os.stat_result | None


@dataclass(frozen=True)
class Wanted:
    """What to generate, by path below the folder of generated files; "" is that folder itself."""

    sources: dict[str, Source] = field(default_factory=dict)
    folders: dict[str, Access] = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """What has been generated, and what else is there."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: dict[str, os.stat_result] = field(default_factory=dict)


def wanted(folder: Path, hidden: PurePosixPath | None) -> Wanted:
    """The KRT files of an existing folder, but for those below ``hidden``. Raises OSError if it can't be listed."""
    os.scandir(folder).close()
    result = Wanted(folders={"": access.like_root(folder)})
    for path in krt.find(folder):
        if hidden is None or hidden not in path.parents:
            _add(result, os.fspath(folder), os.fspath(path))
    return result


def nothing() -> Wanted:
    """For a folder of KRT files that doesn't exist."""
    return Wanted(folders={"": access.CLOSED})


def _add(result: Wanted, folder: str, path: str) -> None:
    """What has vanished or is no file counts no more: opening a FIFO would wait for a writer."""
    try:
        status = _status(f"{folder}/{path}")
        _add_folders(result.folders, folder, path)
    except FileNotFoundError:
        return
    if status is None or stat.S_ISREG(status.st_mode):
        result.sources[_generated_name(path)] = Source(path, status)


def _status(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)  # noqa: PTH116 - text, not paths: this runs for every file at every task's start
    except FileNotFoundError:
        raise
    except OSError:
        return None


def _add_folders(folders: dict[str, Access], folder: str, path: str) -> None:
    path = path.rpartition("/")[0]
    while (name := _generated_name(path)) not in folders:
        folders[name] = access.like(os.stat(f"{folder}/{path}"))  # noqa: PTH116
        path = path.rpartition("/")[0]


def _generated_name(path: str) -> str:
    """The path as the generated files have it: Airflow's database takes only names that are Unicode text."""
    return path if path.isascii() else os.fsencode(path).decode(errors="backslashreplace")


def present(folder: Path, wanted_folders: Container[str]) -> Present:
    """What ``folder`` holds but for what Python compiled. Links aren't followed, what vanishes is left out."""
    result = Present()
    with contextlib.suppress(FileNotFoundError):
        result.folders[""] = folder.stat()
    remaining = [""]
    while remaining:
        name = remaining.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / name) as entries:
            for entry in entries:
                entry_name = f"{name}/{entry.name}" if name else entry.name
                if entry.name != "__pycache__" or entry_name in wanted_folders:
                    remaining += _add_entry(result, entry_name, entry)
    return result


def _add_entry(result: Present, name: str, entry: os.DirEntry[str]) -> list[str]:
    """Returns the folder to look into, if it is one."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return []
    if not stat.S_ISDIR(status.st_mode):
        result.files[name] = status
        return []
    result.folders[name] = status
    return [name]
