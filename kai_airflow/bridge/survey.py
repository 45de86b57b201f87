"""Which workflows there are: the KRT files as they are now, read again where they changed."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePath, PurePosixPath

    from kai_airflow.plan import Workflow

log = logging.getLogger(__name__)

_Form = tuple[int, int, int]  # of a file: inode, size, time of the last change, which no program can set


@dataclass
class Survey:
    """The workflows of folders of KRT files, by DAG id.

    A file that is broken now counts as it was before: its DAG is still there as well. Of two files with one DAG id,
    the one that was there first has it, as in Airflow; where both are new, neither.
    """

    folders: Sequence[Path]
    _read: dict[Path, _Form] = field(default_factory=dict)
    _workflows: dict[Path, tuple[Workflow, ...]] = field(default_factory=dict)
    _owners: dict[str, Path] = field(default_factory=dict)
    _told: set[tuple[str, ...]] = field(default_factory=set)
    _broken: set[Path] = field(default_factory=set)

    @property
    def broken(self) -> list[Path]:
        """The files that have errors now."""
        return sorted(self._broken)

    def look(self) -> Mapping[str, Workflow]:
        """What is there now. Reads files, for a thread of its own."""
        found = {folder / path: path for folder in self.folders for path in krt.find(folder)}
        for file in self._workflows.keys() - found.keys():
            del self._workflows[file]
        self._broken &= found.keys()
        self._read = {file: form for file, form in self._read.items() if file in found}
        for file, path in found.items():
            self._look_at(file, path)
        return self._owned()

    def _look_at(self, file: Path, path: PurePosixPath) -> None:
        form = _form(file)
        if form is None or self._read.get(file) == form:
            return
        self._read[file] = form
        report = krt.load(file, path)
        self._broken.discard(file)
        if report.product is None:
            self._broken.add(file)
            before = "counts as it was before" if file in self._workflows else "is left out"
            log.warning("%s has errors, and %s: kai-airflow validate %s", _shown(path), before, _shown(file))
        else:
            self._workflows[file] = compile_product(report.product).workflows

    def _owned(self) -> dict[str, Workflow]:
        claims: dict[str, dict[Path, Workflow]] = {}
        for file, workflows in self._workflows.items():
            for workflow in workflows:
                claims.setdefault(workflow.dag_id, {})[file] = workflow
        owners = {dag_id: self._owner(dag_id, files) for dag_id, files in claims.items()}
        self._owners = {dag_id: file for dag_id, file in owners.items() if file}
        return {dag_id: claims[dag_id][file] for dag_id, file in self._owners.items()}

    def _owner(self, dag_id: str, files: Mapping[Path, Workflow]) -> Path | None:
        if len(files) == 1:
            return next(iter(files))
        before = self._owners.get(dag_id)
        if (told := (dag_id, *map(_shown, sorted(files)))) not in self._told:
            self._told.add(told)
            log.error("DAG id %s is that of several files: %s. Remedy: remove or rename all but one.", *_said(told))
        return before if before in files else None


def _shown(path: PurePath) -> str:
    """Its name may be no text, which a log can't hold."""
    return str(path).encode(errors="backslashreplace").decode()


def _said(told: tuple[str, ...]) -> tuple[str, str]:
    return told[0], ", ".join(told[1:])


def _form(file: Path) -> _Form | None:
    try:
        status = os.stat(file)  # noqa: PTH116 - thousands of files, every few seconds
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
