"""docker-compose.yaml as Docker Compose itself reads it, in a folder of its own with an .env of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
PROGRAM = "docker-compose"
SETTING = re.compile(r"^([A-Z_]+)=(.*)$", re.MULTILINE)


def make_env(folder: Path) -> subprocess.CompletedProcess[str]:
    """``make compose-env`` in a folder."""
    command = ["make", "--no-print-directory", "--makefile", str(ROOT / "Makefile"), "compose-env"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def settings(folder: Path) -> dict[str, str]:
    """What stands in a folder's .env."""
    return dict(SETTING.findall((folder / ".env").read_text()))


def write_settings(folder: Path, chosen: dict[str, str]) -> None:
    """An .env with these settings only."""
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))


def project(folder: Path) -> Path:
    """A folder with docker-compose.yaml, what it mounts, and an .env."""
    shutil.copy(FILE, folder)
    for mounted in ("dags", "plugins"):
        (folder / mounted).mkdir()
    made = make_env(folder)
    assert made.returncode == 0, made.stderr
    return folder


def compose(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose in a folder. Nothing that it is asked here needs an engine."""
    # That of requirements/dev.txt, which stands beside the interpreter.
    program = shutil.which(PROGRAM, path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"])))
    assert program, f"{PROGRAM} is missing. Remedy: pip install -r requirements/dev.txt"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def services(folder: Path, **variables: str) -> dict[str, Any]:
    """The whole file as it is understood, interpolated: services, configs, volumes, networks."""
    read = compose(folder, "config", "--format", "json", **variables)
    assert read.returncode == 0, read.stderr
    assert not read.stderr
    understood: dict[str, Any] = json.loads(read.stdout.replace("$$", "$"))
    return understood
