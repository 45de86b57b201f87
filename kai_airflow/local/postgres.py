"""The stack's PostgreSQL, a child of ours like every other part."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from kai_airflow.local import programs, unprivileged
from kai_airflow.local.ports import HOST
from kai_airflow.local.supervisor import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "postgresql"
USER = "airflow"
DATABASE = "postgres"  # every cluster has it
SETTINGS = {
    "listen_addresses": HOST,
    # No socket file: a home's path may be too long for one.
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_timezone": "UTC",  # as the other parts' logs
}

# It starts, stops, recovers, has just been killed, has no connection left.
AWAY = (
    OSError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
)


def creation(data: Path, password_file: Path, environment: Mapping[str, str], rank: int) -> Part:
    """The program that makes an empty database in the folder ``data``."""
    options = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(password_file)]
    # Locale C: the same everywhere, and always there.
    options += ["--encoding", "UTF8", "--locale", "C", "--no-instructions", "--pgdata", str(data)]
    command = (*as_user(), str(programs.postgres("initdb")), *options)
    return Part("postgresql-initdb", command, environment, rank)


def part(data: Path, port: int, environment: Mapping[str, str], rank: int) -> Part:
    """PostgreSQL on the database in ``data``."""
    settings = [text for name, value in SETTINGS.items() for text in ("-c", f"{name}={value}")]
    command = (*as_user(), str(programs.postgres("postgres")), "-D", str(data), "-p", str(port), *settings)
    # SIGINT ends sessions, SIGTERM would wait for them.
    return Part(NAME, command, environment, rank, stop_signal=signal.SIGINT)


def make_folder(data: Path) -> None:
    """An empty folder for the data, of the user that PostgreSQL runs as."""
    if data.exists():
        shutil.rmtree(data)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(data, unprivileged.USER)


def is_free(data: Path) -> bool:
    """Whether no PostgreSQL runs on these data; removes what one that was killed left to keep others out.

    PostgreSQL itself takes for one whatever has the noted process id: another program, one that nobody has collected.
    """
    file = data / "postmaster.pid"
    try:
        noted = file.read_text().split()[0]
        runs = Path("/proc", noted, "cwd").readlink() == data.resolve()
    except (FileNotFoundError, PermissionError, IndexError):  # no file; no process, or another user's; an empty file
        runs = False
    if not runs:
        file.unlink(missing_ok=True)
    return not runs


async def answers(url: str) -> bool:
    """Whether PostgreSQL does what it is asked."""
    try:
        return await _answers(url)
    except AWAY:
        return False


async def _answers(url: str) -> bool:
    connection = await asyncpg.connect(url, timeout=5, ssl=False)
    try:
        return bool(await connection.fetchval("SELECT 1") == 1)
    finally:
        await connection.close()


def as_user() -> tuple[str, ...]:
    """The words before a command that make it run as PostgreSQL may."""
    return (sys.executable, "-I", "-S", str(Path(unprivileged.__file__))) if os.geteuid() == 0 else ()
