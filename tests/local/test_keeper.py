"""The keeper with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import deaths, remains
from kai_airflow.local.errors import StackError
from kai_airflow.local.keeper import Keeper, Service
from kai_airflow.local.progress import Silence
from kai_airflow.local.supervisor import Part, PartEndedError, Supervisor, tail
from kai_airflow.local.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

DEADLINE = 30.0  # seconds
WAIT = "import os, signal; print(os.getpid(), flush=True); signal.pause()"


class Told(Silence):
    """What is told of parts, one thing after another."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def ended(self, part: str, how: str) -> None:
        self._said.put_nowait((part, how))

    def restarted(self, part: str, seconds: float) -> None:
        assert seconds > 0
        self._said.put_nowait((part, "again"))

    async def next(self) -> tuple[str, str]:
        return await self._said.get()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "PAUSES", (0.0, 0.0, 0.0))


@asynccontextmanager
async def keeping(folder: Path, told: Told) -> AsyncIterator[tuple[Keeper, Supervisor]]:
    async with (
        asyncio.timeout(DEADLINE),
        Supervisor(folder) as supervisor,
        Keeper(supervisor, told) as keeper,
    ):
        yield keeper, supervisor


def service(folder: Path, program: str, name: str = "lives", rank: int = 0) -> Service:
    """A part that is well as soon as its log has a line of its last start."""

    async def printed(_since: datetime) -> bool:
        return tail(folder / f"{name}.log").splitlines()[-1].isdigit()

    return Service(Part(name, (sys.executable, "-c", program), {"PATH": os.environ["PATH"]}, rank), printed)


async def kill(folder: Path, name: str = "lives") -> int:
    """End the part itself, once it has said its id."""
    log = folder / f"{name}.log"

    async def said() -> bool:
        return tail(log).splitlines()[-1].isdigit()

    await until(name, said, DEADLINE)
    process = int(tail(log).splitlines()[-1])
    os.kill(process, signal.SIGKILL)
    return process


async def test_a_part_that_ends_is_started_again_and_told(tmp_path: Path, told: Told) -> None:
    async with keeping(tmp_path, told) as (keeper, supervisor):
        await keeper.start(service(tmp_path, WAIT))
        keeper.settle()
        first = await kill(tmp_path)
        assert await told.next() == ("lives", "exit code 137 (SIGKILL)")
        assert await told.next() == ("lives", "again")
        assert int(tail(supervisor.log("lives")).splitlines()[-1]) != first


async def test_the_third_end_within_a_minute_is_the_last(tmp_path: Path, told: Told) -> None:
    async with keeping(tmp_path, told) as (keeper, _):
        await keeper.start(service(tmp_path, "print('so it goes'); raise SystemExit(3)"))
        keeper.settle()
        with pytest.raises(PartEndedError, match="lives ended with exit code 3, 3 times within a minute") as caught:
            await keeper.death()
        assert "so it goes" in str(caught.value)


async def test_one_that_ends_before_all_are_well_is_not_started_again(tmp_path: Path, told: Told) -> None:
    async with keeping(tmp_path, told) as (keeper, _):
        await keeper.start(service(tmp_path, WAIT, "well"))
        await keeper.start(service(tmp_path, "raise SystemExit(3)", "broken"))
        with pytest.raises(PartEndedError, match=r"broken ended with exit code 3\. Its log"):
            await keeper.death()


async def test_what_a_part_needs_is_waited_for(tmp_path: Path, told: Told) -> None:
    """Else a database that is away for long would use up the restarts of all that need it."""
    there, asked = asyncio.Event(), asyncio.Event()

    async def needed() -> bool:
        asked.set()
        if not there.is_set():
            raise StackError("an error is no answer")
        return True

    async with keeping(tmp_path, told) as (keeper, supervisor):
        lives = service(tmp_path, WAIT)
        await keeper.start(Service(lives.part, lives.well, needed))
        keeper.settle()
        await kill(tmp_path)
        await asked.wait()
        assert remains.processes(supervisor.log("lives")) == set()
        there.set()
        await told.next()
        assert await told.next() == ("lives", "again")


async def test_an_end_while_what_is_needed_is_away_does_not_count(tmp_path: Path, told: Told) -> None:
    answers = iter([False, True] * 5)  # away when the part ends, there when it is asked again

    async def needed() -> bool:
        return next(answers)

    async with keeping(tmp_path, told) as (keeper, _):
        lives = service(tmp_path, WAIT)
        await keeper.start(Service(lives.part, lives.well, needed))
        keeper.settle()
        for _ in range(5):
            await kill(tmp_path)
            assert await told.next() == ("lives", "exit code 137 (SIGKILL)")
            assert await told.next() == ("lives", "again")


async def test_an_end_soon_after_that_of_what_is_needed_does_not_count(tmp_path: Path, told: Told) -> None:
    """A part may need seconds to find out that its database was away, and then the database is there again."""
    async with keeping(tmp_path, told) as (keeper, _):
        await keeper.start(service(tmp_path, WAIT, "database"))
        await keeper.start(service(tmp_path, WAIT, "lives", rank=1))
        keeper.settle()
        for name in ("database", "lives", "lives", "lives", "lives", "database"):
            await kill(tmp_path, name)
            assert await told.next() == (name, "exit code 137 (SIGKILL)")
            assert await told.next() == (name, "again")
        await kill(tmp_path, "database")
        with pytest.raises(PartEndedError, match=r"database ended with .*, 3 times within a minute"):
            await keeper.death()


async def test_one_that_ends_again_before_it_is_well_is_noticed(tmp_path: Path, told: Told) -> None:
    async def never(_since: datetime) -> bool:
        return False

    async with keeping(tmp_path, told) as (keeper, _):
        await keeper.start(Service(service(tmp_path, "raise SystemExit(3)").part, never))
        keeper.settle()
        with pytest.raises(PartEndedError, match="3 times"):
            await keeper.death()


async def test_a_part_that_waits_for_its_restart_is_not_started_any_more(tmp_path: Path, told: Told) -> None:
    async def never() -> bool:
        return False

    async with keeping(tmp_path, told) as (keeper, _):
        lives = service(tmp_path, WAIT)
        await keeper.start(Service(lives.part, lives.well, never))
        keeper.settle()
        await kill(tmp_path)
        await told.next()
    assert remains.processes(tmp_path) == set()
