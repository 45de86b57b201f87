"""The things that are ever done to the folder of generated files, each safe to be interrupted and done again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kai_airflow.bundle import module

if TYPE_CHECKING:
    from kai_airflow.bundle.access import Access


INCOMPLETE = 0
"""The modification time, in nanoseconds as all times here, of a document whose module is yet to be written."""


class Step(Protocol):
    """Something to do."""

    @property
    def path(self) -> Path:
        """What it is done to."""

    def take(self) -> None:
        """Do it. Raises OSError."""


@dataclass(frozen=True)
class Removal:
    """A file or folder that no KRT file asks for."""

    path: Path

    def take(self) -> None:
        """Remove it, and what Python compiled from it."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
            return
        self.path.unlink(missing_ok=True)
        Path(importlib.util.cache_from_source(str(self.path))).unlink(missing_ok=True)


@dataclass(frozen=True)
class Folder:
    """A folder, new or with other access than the one that it follows."""

    path: Path
    access: Access

    def take(self) -> None:
        """Make it; closed until its access is given."""
        self.path.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        self.access.give(self.path)


@dataclass(frozen=True)
class File:
    """A file with this content and access, and this modification time (nanoseconds; None: now) where it is new."""

    path: Path
    content: bytes
    access: Access
    time: int | None = None

    def due(self) -> bool:
        """Whether there is something to do."""
        status = _status(self.path)
        return status is None or not (self.has_content() and self.access.fits(status))

    def take(self) -> None:
        """Replace it whole; leave it untouched where its content fits."""
        if self.has_content():
            self.access.give(self.path)
            return
        descriptor, name = tempfile.mkstemp(dir=self.path.parent)
        made = Path(name)
        try:
            self._write(descriptor, made)
            made.replace(self.path)
        except OSError:
            made.unlink(missing_ok=True)
            raise

    def _write(self, descriptor: int, made: Path) -> None:
        with open(descriptor, "wb") as stream:
            stream.write(self.content)
        if self.time is not None:
            _set_time(made, self.time)
        self.access.give(made)

    def has_content(self) -> bool:
        """Whether nothing but access and time can differ."""
        try:
            return self.path.read_bytes() == self.content
        except OSError:
            return False


@dataclass(frozen=True)
class Publication:
    """A document and the module that loads it; the document's time says that both are there."""

    name: str
    document: File
    module_path: Path
    time: int

    @property
    def path(self) -> Path:
        """The document."""
        return self.document.path

    def take(self) -> None:
        """Document first: a module is never without one, and never loads an older one than it shows."""
        self.document.take()
        code = File(self.module_path, module.loading(self.name, self.document.content), self.document.access)
        if code.due():
            _set_time(self.path, INCOMPLETE)
            code.take()
        _set_time(self.path, self.time)


@dataclass(frozen=True)
class Confirmation:
    """A document that has its KRT file's content still, and its module: only access and time may differ."""

    document: File
    module_path: Path
    time: int

    @property
    def path(self) -> Path:
        """The document."""
        return self.document.path

    def due(self) -> bool:
        """Whether there is something to do."""
        status = _status(self.path)
        return status is None or status.st_mtime_ns != self.time or not self.document.access.fits(status)

    def take(self) -> None:
        """The module keeps its modification time, so that Airflow doesn't parse it again."""
        self.document.access.give(self.path)
        self.document.access.give(self.module_path)
        _set_time(self.path, self.time)


@dataclass(frozen=True)
class Failure:
    """A module that says why there is no document."""

    document: Path
    module: File

    @property
    def path(self) -> Path:
        """The document that is missing."""
        return self.document

    def due(self) -> bool:
        """Whether there is something to do."""
        return self.module.due() or self.document.exists()

    def take(self) -> None:
        """Module first: it must not look for the document any more."""
        if self.document.exists():
            _set_time(self.document, INCOMPLETE)
        self.module.take()
        self.document.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _set_time(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))
