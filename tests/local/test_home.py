"""The stack's folder: private, whole, for one stack at a time."""

from __future__ import annotations

import socket
import subprocess
import sys
from base64 import urlsafe_b64decode
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from kai_airflow.local import ports
from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, Secrets, locked, write_private

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "a" / "home")
    made.make()
    return made


def test_the_port_of_what_is_published_stays_unless_another_has_taken_it(home: Home) -> None:
    port = home.ingress_port()
    assert Home(home.path).ingress_port() == port
    with socket.create_server((ports.HOST, port)):
        other = home.ingress_port()
        assert other != port
    assert home.ingress_port() == other
    (home.path / "ingress-port").write_text("nonsense")
    assert home.ingress_port() > 0


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_all_of_it_is_for_its_owner_alone(home: Home) -> None:
    Secrets.of(home)
    for path in home.path.rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert mode(home.path) == 0o700


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir(mode=0o755)
    home.make()
    assert mode(home.path) == 0o700


def test_git_does_not_see_it(home: Home) -> None:
    assert (home.path / ".gitignore").read_text() == "*\n"


def test_a_home_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"file/home: can't keep the stack here: Not a directory.*--home"):
        Home(tmp_path / "file" / "home").make()


def test_secrets_are_made_once(home: Home) -> None:
    assert Secrets.of(home) == Secrets.of(home)


def test_secrets_of_two_homes_have_nothing_in_common(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.make()
    both = [*asdict(Secrets.of(home)).values(), *asdict(Secrets.of(other)).values()]
    assert len(set(both)) == len(both) == 12


def test_the_fernet_key_is_one(home: Home) -> None:
    assert len(urlsafe_b64decode(Secrets.of(home).fernet)) == 32


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"nats": "x"}', b"\xff"])
def test_damaged_secrets_are_an_error_that_names_the_file(home: Home, content: bytes) -> None:
    file = home.path / "secrets.json"
    file.write_bytes(content)
    with pytest.raises(StackError, match=r"secrets.json: damaged.*remove .*home and start anew"):
        Secrets.of(home)


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("open")
    file.chmod(0o644)
    write_private(file, "private")
    assert file.read_text() == "private"
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_second_stack_in_the_same_home_is_refused(home: Home) -> None:
    hold = (
        "import pathlib, sys\n"
        "from kai_airflow.local.home import Home, locked\n"
        "with locked(Home(pathlib.Path(sys.argv[1]))):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        with (
            pytest.raises(StackError, match=rf"runs here already \(process {first.pid}\).*`kai-airflow down`.*--home"),
            locked(home),
        ):
            pass
        first.communicate()


def test_a_home_is_free_again_afterwards(home: Home) -> None:
    for _ in range(2):
        with locked(home):
            pass


def test_a_home_whose_stack_was_killed_is_waited_for(home: Home) -> None:
    """What the killed one left holds the lock for a moment longer, and then it is free."""
    hold = (
        "import os, pathlib, signal, sys\n"
        "from kai_airflow.local.home import Home, locked\n"
        "with locked(Home(pathlib.Path(sys.argv[1]))) as descriptor:\n"
        "    os.set_inheritable(descriptor, True)\n"
        "    if os.fork() == 0:\n"
        "        print('left', flush=True)\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", hold, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdin is not None
    assert killed.stdout is not None
    assert killed.stdout.readline() == "left\n"
    killed.wait(20)
    killed.stdin.close()
    with locked(home):
        pass
    killed.stdout.close()
