"""Airflow's dag-processor over a thousand KRTs, and over a thousand Python files with the same DAGs."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from benchmarks import children, products
from benchmarks.figures import RATIO, SECONDS, Table
from kai_airflow.local import airflow, ports, postgres
from kai_airflow.local.environment import basis
from kai_airflow.local.home import write_private
from kai_airflow.local.supervisor import Part, Supervisor
from kai_airflow.local.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILES = 1000
PROCESSES = 6  # of each file: as many as the example has
KRT, PYTHON = "krt", "python"
BUNDLES = {KRT: children.KRT_BUNDLE, PYTHON: children.LOCAL_BUNDLE}
ROWS = {"first": "first pass", "unchanged": "pass over unchanged files"}
MIGRATED = "migrated"  # the database that all others are copied from
SOON = 60.0  # seconds for PostgreSQL to start


class Passing:
    """A PostgreSQL alone, a database in it for each dag-processor, and no other part of Airflow."""

    def __init__(self, folder: Path) -> None:
        self.table = Table(
            f"dag-processor over {FILES:,} files, measured once",
            {
                "KRT": SECONDS,
                "by hand": SECONDS,
                "KRT beside by hand": RATIO,
                "KRT, processor time": SECONDS,
                "by hand, processor time": SECONDS,
                "KRT beside by hand, processor time": RATIO,
            },
            at_most=1,  # it takes minutes, and each figure is the sum of a thousand
        )
        self._folder = folder / "passing"
        self._password = secrets.token_hex(16)

    def prepare(self) -> None:
        """Make the files and the database."""
        self._folder.mkdir()
        write(self._folder / KRT, FILES)
        write_python(self._folder / PYTHON, FILES)
        asyncio.run(self._make_database())

    def measure(self) -> None:
        """One after the other."""
        krt, python = (asyncio.run(self._passes(kind)) for kind in BUNDLES)
        for name, row in ROWS.items():
            figures = [_compared(krt[name][of], python[name][of]) for of in ("time", "processor")]
            self.table.add(row, *figures[0], *figures[1])

    async def _make_database(self) -> None:
        data, password = self._folder / "postgres", self._folder / "postgres.password"
        postgres.make_folder(data)
        write_private(password, self._password)
        async with Supervisor(self._folder) as supervisor:
            await supervisor.run(postgres.creation(data, password, basis(os.environ), 0))
        async with self._postgres() as (supervisor, port):
            await self._ask(port, f"CREATE DATABASE {MIGRATED}")
            home = self._folder / "airflow"
            variables = children.environment(home, self._database(port, MIGRATED))
            await supervisor.run(airflow.migration(variables, 1))

    async def _passes(self, kind: str) -> dict[str, dict[str, float]]:
        """With a database and an AIRFLOW_HOME of its own: all files are new to it."""
        home, found = self._folder / f"airflow-{kind}", self._folder / f"{kind}.json"
        settings = children.bundles(home, {kind: (BUNDLES[kind], self._folder / kind)})
        settings["dag_processor"]["min_file_process_interval"] = "0"
        async with self._postgres() as (supervisor, port):
            await self._ask(port, f"CREATE DATABASE {kind} TEMPLATE {MIGRATED}")
            variables = children.environment(home, settings | self._database(port, kind))
            words = children.command("passing.py", FILES, found)
            await supervisor.run(Part(f"dag-processor-{kind}", words, variables, 1))
            await self._ask(port, f"DROP DATABASE {kind}")
        shutil.rmtree(home)
        seconds: dict[str, dict[str, float]] = json.loads(found.read_text())
        return seconds

    @asynccontextmanager
    async def _postgres(self) -> AsyncIterator[tuple[Supervisor, int]]:
        port = ports.free(1)[0]
        url = self._url("postgresql", port, postgres.DATABASE)
        async with Supervisor(self._folder) as supervisor:
            await supervisor.start(postgres.part(self._folder / "postgres", port, basis(os.environ), 0))
            await until(postgres.NAME, lambda: postgres.answers(url), SOON)
            yield supervisor, port

    async def _ask(self, port: int, what: str) -> None:
        connection = await asyncpg.connect(self._url("postgresql", port, postgres.DATABASE), ssl=False)
        try:
            await connection.execute(what)
        finally:
            await connection.close()

    def _database(self, port: int, name: str) -> dict[str, dict[str, str]]:
        return {"database": {"sql_alchemy_conn": self._url("postgresql+psycopg2", port, name)}}

    def _url(self, driver: str, port: int, name: str) -> str:
        return f"{driver}://{postgres.USER}:{self._password}@{ports.HOST}:{port}/{name}"


def _compared(krt: float, python: float) -> tuple[float, float, float]:
    return krt, python, krt / python


def write(folder: Path, count: int) -> None:
    """So many KRTs."""
    for product in products.listed(count):
        file = folder / product / "krt.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(products.as_krt(product, products.steps(PROCESSES)))


def write_python(folder: Path, count: int) -> None:
    """So many modules with the same DAGs."""
    for product in products.listed(count):
        file = folder / product / "workflow.py"
        file.parent.mkdir(parents=True)
        file.write_text(products.as_python(product, products.steps(PROCESSES)))
