"""What `kai-airflow up` and `demo` print."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from kai_airflow.cli.demonstration import fresh_home
from kai_airflow.cli.homes import HOME
from kai_airflow.cli.outcome import table
from kai_airflow.cli.progress import reporter
from kai_airflow.errors import KaiAirflowError
from kai_airflow.local.airflow_api import Task

if TYPE_CHECKING:
    from pathlib import Path


def printed(*things: object, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    for thing in things:
        console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_the_table_has_a_process_with_what_it_got_and_published_in_a_line() -> None:
    tasks = [
        Task("splitter", "success", 1, "2026-01-01T00:00:00Z", 2.345),
        Task("training", "skipped", 0, None, None),
        Task("exit", None, 0, None, None),
    ]
    manifest = {"fed": 3, "channels": {"": {"count": 2, "sequences": [5, 6]}, "go": {"count": 1, "sequences": [7]}}}
    assert rows(printed(table(tasks, {"splitter": manifest, "training": None}))) == [
        ["splitter", "success", "2.3 s", "3", "3"],
        ["training", "skipped", "-", "-", "-"],
        ["exit", "none", "-", "-", "-"],
    ]


def test_progress_is_a_line_a_part_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    report = reporter(console)
    report.starting("nats-server")
    report.ready("nats-server", 0.345)
    report.healthy()
    report.ended("nats-server", "exit code 137 (SIGKILL)")
    report.restarted("nats-server", 0.25)
    report.stopping()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "nats-server ready (0.3 s)",
        "nats-server ended with exit code 137 (SIGKILL), restarting",
        "nats-server ready again (0.2 s)",
        "stopping",
    ]


def test_progress_is_live_at_a_terminal_and_ends_with_all_ticked() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    report = reporter(console)
    report.starting("nats-server")
    report.starting("postgresql")
    report.ready("nats-server", 0.3)
    report.ready("postgresql", 1.2)
    report.healthy()
    assert isinstance(console.file, io.StringIO)
    ticked = [line for line in console.file.getvalue().splitlines() if "✓" in line]
    assert "nats-server" in ticked[-2]
    assert "0.3 s" in ticked[-2]
    assert "postgresql" in ticked[-1]
    assert "1.2 s" in ticked[-1]


def test_a_part_that_is_restarted_is_told_below_the_live_lines() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    report = reporter(console)
    report.starting("nats-server")
    report.ready("nats-server", 0.3)
    report.healthy()
    assert isinstance(console.file, io.StringIO)
    before = len(console.file.getvalue())
    report.ended("nats-server", "exit code 1")
    report.restarted("nats-server", 0.25)
    assert console.file.getvalue()[before:].splitlines() == [
        "✗ nats-server ended with exit code 1, restarting",
        "✓ nats-server ready again 0.2 s",
    ]


def test_a_demonstrations_home_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fresh_home(Console(file=io.StringIO())) as first, fresh_home(Console(file=io.StringIO())) as second:
        assert first.path.is_dir()
        assert first.path != second.path
    assert list(tmp_path.iterdir()) == []


def test_it_stays_where_it_is_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), width=200)
    with fresh_home(console) as home:
        home.kept = True
    assert list((tmp_path / HOME).iterdir()) == [home.path.absolute()]
    assert isinstance(console.file, io.StringIO)
    assert str(home.path / "logs") in console.file.getvalue()


def test_it_stays_after_an_error_of_which_its_logs_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "of the demonstration"

    def fail() -> None:
        with fresh_home(Console(file=io.StringIO())) as made:
            made.path.rename(home)
            made.path = home
            (home / "logs").mkdir()
            (home / "logs" / "scheduler.log").write_text("why")
            raise KaiAirflowError

    with pytest.raises(KaiAirflowError):
        fail()
    assert home.is_dir()
