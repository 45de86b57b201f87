"""The KRT file that a command is given, and the part of it that is meant."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kai_airflow.krt import Report


def load(file: str) -> Report:
    """The report of a file. Its product may be named by its real folder, whatever the current one.

    :raises KaiAirflowError: it is a folder
    """
    from kai_airflow import krt

    path = Path(file)
    if path.is_dir():
        raise KaiAirflowError(f"{file} is a folder: name a krt.yaml in it")
    return krt.load(path, PurePath(os.path.abspath(path)))  # noqa: PTH100 - resolve() would follow links


def chosen(kind: str, named: str | None, names: Sequence[str]) -> str:
    """The one that is named, or the only one there is.

    :raises KaiAirflowError: there is no such one, or there are several
    """
    from kai_airflow.krt.wording import choice, listed, quoted

    if named is None and len(names) > 1:
        raise KaiAirflowError(f"there are {len(names)} {kind}s. Remedy: name one with --{kind}: {listed(names)}.")
    if named is not None and named not in names:
        raise KaiAirflowError(f"no {kind} {quoted(named)}. Remedy: {choice(named, names)}")
    return named or names[0]
