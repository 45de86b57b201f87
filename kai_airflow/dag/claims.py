"""One DAG id, one file: who had it first keeps it, and where that can't be told nobody has it.

Each KRT file is parsed by itself, so what it takes is written down beside the generated files, a small file for each
DAG id and KRT. Nothing but the claims to one DAG id is ever read, so a file costs the same whatever others there are.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.errors import KaiAirflowError
from kai_airflow.plan import dag_ids

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FOLDER = "dag-ids"


class DuplicateDagIdError(KaiAirflowError):
    """A DAG id that another file has."""

    def __init__(self, path: str, dag_id: str, other: str) -> None:
        super().__init__(
            f"{path}: its DAG id {dag_id!r} is that of {other}, too. Remedy: remove one of the files, give a workflow "
            "or a product another name or, for two versions of one product, set x-airflow: {version_in_dag_id: true}."
        )


@dataclass(frozen=True)
class Claims:
    """Those of one KRT: ``root`` is the folder of generated files, ``path`` the document's below it."""

    root: Path
    path: str

    def take(self, wanted: Iterable[str]) -> None:
        """Claim DAG ids; raises DuplicateDagIdError for one that is another file's."""
        for dag_id in wanted:
            self._take(dag_id, self.root.parent / FOLDER / dag_id)

    def _take(self, dag_id: str, folder: Path) -> None:
        others = [other for other in _claims(folder) if other.path != self.path and other.holds(self.root, dag_id)]
        came = (self.root / self.path).stat().st_ctime_ns
        if all(came <= other.time for other in others):  # else it is a newcomer
            self._write(folder)
        if others:
            raise DuplicateDagIdError(self.path, dag_id, others[0].path)

    def _write(self, folder: Path) -> None:
        """A claim is a link to nowhere: it is made whole or not at all, and tells its KRT without being opened."""
        with contextlib.suppress(OSError):  # it is there; or who can't write here isn't the dag-processor
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / hashlib.sha256(self.path.encode()).hexdigest()).symlink_to(self.path)


@dataclass(frozen=True)
class _Claim:
    file: Path
    path: str
    time: int

    def holds(self, root: Path, dag_id: str) -> bool:
        """Whether the document is there and still asks for the DAG id; one that is broken for now may."""
        report = krt.load(root / self.path, PurePath(self.path)) if (root / self.path).exists() else None
        held = report is not None and (report.product is None or dag_id in dag_ids(report.product))
        if not held:
            with contextlib.suppress(OSError):
                self.file.unlink(missing_ok=True)
        return held


def _claims(folder: Path) -> list[_Claim]:
    """All to one DAG id; what vanishes while they are looked at is no claim any more."""
    found = []
    with contextlib.suppress(OSError):
        for file in sorted(folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                found.append(_Claim(file, str(file.readlink()), file.lstat().st_mtime_ns))
    return found
