"""The supervisor with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import remains
from kai_airflow.local.supervisor import TAIL, Part, PartEndedError, Supervisor, tail
from kai_airflow.local.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 20.0  # seconds
WAIT = "import signal; signal.pause()"
# Starts a child in a session of its own, which says its id and kills the guard, and by that its parent.
ORPHAN = (
    "import os, signal, subprocess, sys\n"
    "child = 'import os, signal; print(os.getpid(), flush=True); os.kill({}, 9); signal.pause()'\n"
    "subprocess.Popen([sys.executable, '-c', child.format(os.getppid())], start_new_session=True)\n"
    "signal.pause()"
)
NOTHING_YET = ("(nothing)", "(No such file or directory)")


def part(name: str, program: str, rank: int = 0, grace: float = 5.0) -> Part:
    return Part(name, (sys.executable, "-c", program), {"PATH": os.environ["PATH"]}, rank, grace)


async def written(file: Path) -> str:
    """What a process writes to the file, once it has."""

    async def whole() -> bool:
        return tail(file) not in NOTHING_YET

    await until(file.name, whole, DEADLINE)
    return tail(file)


async def test_a_part_that_failed_is_named_with_its_code_and_last_lines(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        with pytest.raises(PartEndedError) as caught:
            await supervisor.run(part("broken", "print('\\n'.join(map(str, range(50)))); raise SystemExit(3)"))
    text = str(caught.value)
    assert text.startswith("broken ended with exit code 3.")
    assert str(tmp_path / "broken.log") in text
    assert text.splitlines()[1:] == [str(number) for number in range(30, 50)]
    assert (caught.value.part, caught.value.code) == ("broken", 3)


async def test_a_signal_that_ended_a_part_is_named(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        with pytest.raises(PartEndedError, match=r"exit code 137 \(SIGKILL\)"):
            await supervisor.run(part("broken", "import os; os.kill(os.getpid(), 9)"))


async def test_a_guard_that_is_killed_counts_as_its_part(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        # Nobody but its child sees the guard: the child kills it.
        with pytest.raises(PartEndedError, match=r"broken ended with exit code 137 \(SIGKILL\)"):
            await supervisor.run(part("broken", "import os; os.kill(os.getppid(), 9)"))


async def test_a_log_goes_on_after_a_restart_and_begins_anew_with_a_start(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        says = part("says", "print('hello')")
        code = await supervisor.ended(await supervisor.start(says))
        await supervisor.ended(await supervisor.restart(says, code))
        first, between, last = tail(supervisor.log("says")).splitlines()
        assert (first, last) == ("hello", "hello")
        assert between.endswith("Z kai-airflow: says ended with exit code 0, restarted")
        await supervisor.ended(await supervisor.start(says))
        assert tail(supervisor.log("says")) == "hello"


async def test_nothing_of_a_part_whose_guard_was_killed_is_left_when_it_is_restarted(tmp_path: Path) -> None:
    """Its child, in a session of its own, would live on; what is to be restarted runs once."""
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        lives = part("lives", ORPHAN)
        assert await supervisor.ended(await supervisor.start(lives)) == 137
        child = int(await written(supervisor.log("lives")))
        assert child in remains.processes(supervisor.log("lives"))
        await supervisor.restart(part("lives", WAIT), 137)
        assert child not in remains.processes(tmp_path)


async def test_nor_when_all_are_stopped(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        await supervisor.ended(await supervisor.start(part("lives", ORPHAN)))
        assert int(await written(supervisor.log("lives"))) in remains.processes(tmp_path)
    assert remains.processes(tmp_path) == set()


async def test_a_part_that_runs_once_must_succeed(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        await supervisor.run(part("once", "print('done')"))
        assert tail(supervisor.log("once")) == "done"
        with pytest.raises(PartEndedError, match="once ended with exit code 1"):
            await supervisor.run(part("once", "raise SystemExit(1)"))


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        with pytest.raises(PartEndedError, match="can't start /no/such/program"):
            await supervisor.run(Part("absent", ("/no/such/program",), {}))


async def test_parts_are_stopped_by_rank_the_highest_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    note = (
        "import signal, sys, pathlib\n"
        "def stop(*_):\n"
        "    with open({order!r}, 'a') as file: file.write({name!r} + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        for name, rank in (("database", 0), ("tasks", 2), ("server", 1)):
            await supervisor.start(part(name, note.format(order=str(order), name=name), rank))
            await written(supervisor.log(name))
    assert order.read_text().split() == ["tasks", "server", "database"]


async def test_nothing_runs_after_it_even_where_it_ends_by_an_error(tmp_path: Path) -> None:
    say = "import os, signal; print(os.getpid(), flush=True); signal.pause()"

    async def break_off() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(part("waits", say))
            await written(supervisor.log("waits"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    with pytest.raises(ProcessLookupError):
        os.kill(int(tail(tmp_path / "waits.log")), 0)


async def test_the_environment_and_the_log_are_the_parts_alone(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(DEADLINE):
        program = "import os; print(sorted(name for name in os.environ if name != 'LC_CTYPE'))"
        await supervisor.run(part("once", program))
        assert tail(supervisor.log("once")) == f"['{remains.MARK}', 'PATH', 'SPT_NOENV']"
        assert supervisor.log("once").stat().st_mode & 0o777 == 0o600


def test_the_tail_of_a_long_log_of_broken_text_is_a_few_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 200_000 + b"\n" + b"\xff\n" * 100)
    assert tail(log).splitlines() == ["�"] * TAIL


@pytest.mark.parametrize(("content", "shown"), [(b"", "(nothing)"), (None, "(No such file or directory)")])
def test_the_tail_of_no_log_says_so(tmp_path: Path, content: bytes | None, shown: str) -> None:
    log = tmp_path / "log"
    if content is not None:
        log.write_bytes(content)
    assert tail(log) == shown
