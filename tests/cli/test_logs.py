"""`kai-airflow logs`, and `down` where nothing runs."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kai_airflow.cli import main
from kai_airflow.local import remains
from kai_airflow.local.home import Home, locked

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "kai-airflow")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a stack that doesn't run, with the logs of two parts."""
    made = Home(tmp_path / "home")
    made.make()
    with locked(made):
        pass
    (made.logs / "scheduler.log").write_text("2026-11-25T17:00:02Z two\n2026-11-25T17:00:03Z three\n")
    (made.logs / "nats-server.log").write_text("[1] 2026/11/25 17:00:01 one")
    return made.path


def test_all_parts_are_merged_with_their_names(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--home", str(home)]) == 0
    assert capsys.readouterr().out == (
        "nats-server       | [1] 2026/11/25 17:00:01 one\n"
        "scheduler         | 2026-11-25T17:00:02Z two\n"
        "scheduler         | 2026-11-25T17:00:03Z three\n"
    )


def test_one_part_is_shown_as_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "scheduler", "-n", "1", "--home", str(home)]) == 0
    assert capsys.readouterr().out == "2026-11-25T17:00:03Z three\n"


def test_names_are_coloured_at_a_terminal(home: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run([PROGRAM, "logs", "--home", home], stdout=theirs, env=environment, timeout=60, check=True)
    line = os.read(ours, 1000).splitlines(keepends=True)[0]
    os.close(theirs)
    os.close(ours)
    assert line.startswith(b"\x1b[")
    assert line.endswith(b"\x1b[0m | [1] 2026/11/25 17:00:01 one\r\n")


def test_follow_goes_on_until_ctrl_c(home: Path) -> None:
    command = [PROGRAM, "logs", "scheduler", "--follow", "-n", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with (home / "logs" / "scheduler.log").open("a", buffering=1) as log:
            log.write("2026-11-25T17:00:04Z four\n")
            while not select.select([process.stdout], [], [], 0.1)[0]:  # -n 0 hides what it finds when it starts
                log.write("2026-11-25T17:00:04Z four\n")
        assert process.stdout.readline() == "2026-11-25T17:00:04Z four\n"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 130


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    (home / "logs" / "scheduler.log").write_text("a line\n" * 100_000)
    command = [PROGRAM, "logs", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(20), process.stderr.read()) == (0, b"")


def test_an_unknown_part_is_told_with_those_that_there_are(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "sheduler", "--home", str(home)]) == 2
    assert (
        "no part 'sheduler' has a log. Remedy: name one that does: nats-server, scheduler." in capsys.readouterr().err
    )


@pytest.mark.parametrize("count", ["-1", "x", ""])
def test_what_is_no_number_of_lines_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["logs", f"-n{count}"] if count else ["logs", "-n", ""])
    assert "is no number of lines" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["logs", "down"])
def test_a_home_that_does_not_exist_is_an_error_with_a_remedy(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command]) == 2
    assert f"{tmp_path}/.kai-airflow: no stack was ever kept here. Remedy: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_down_where_nothing_runs_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--home", str(home)]) == 0
    assert capsys.readouterr().out == f"no stack runs in {home}\n"


def test_down_ends_what_a_killed_stack_has_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = remains.mark(home / "logs" / "scheduler.log")
    command = [sys.executable, "-c", "import signal; print('runs', flush=True); signal.pause()"]
    with subprocess.Popen(command, env={**os.environ, **mark}, stdout=subprocess.PIPE, text=True) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == "runs\n"
        assert main(["down", "--home", str(home)]) == 0
        assert left.wait(20) == -signal.SIGKILL
    assert capsys.readouterr().out == f"ended what was left of a stack in {home} (processes: 1)\n"
