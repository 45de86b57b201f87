"""Reading a KRT from a file: bounded, and every failure is an error in the report."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from kai_airflow.krt import MAX_BYTES, load

if TYPE_CHECKING:
    from tests.krt.conftest import Krt

EXAMPLE = Path(__file__).parents[2] / "dags/github-trainer/krt.yaml"


def test_the_example_of_kai_is_valid_and_told_of_its_secret() -> None:
    report = load(EXAMPLE)
    assert (report.valid, report.errors) == (True, ())
    assert [(warning.code, warning.location) for warning in report.warnings] == [
        ("secret-in-config", "krt.workflows[0].processes[0].config.github_secret")
    ]
    product = report.require()
    (workflow,) = product.workflows
    assert (product.name, product.version, workflow.name, workflow.mode) == (
        "github-trainer",
        "v1.0.0",
        "training-workflow",
        "batch",
    )
    assert {process.name: [s.text for s in process.subscriptions] for process in workflow.processes} == {
        "github-trigger": [],
        "splitter": ["github-trigger"],
        "training-go": ["splitter.go"],
        "training-py": ["splitter.py"],
        "validation": ["training-go", "training-py"],
        "exit": ["validation"],
    }
    trigger = workflow.processes[0]
    assert trigger.config == {"webhook_events": "push", "github_secret": "secret"}
    assert trigger.networking is not None
    assert (trigger.networking.target_port, trigger.networking.protocol) == (3000, "HTTP")


def test_the_path_below_the_dags_folder_names_the_product(krt: Krt, tmp_path: Path) -> None:
    file = tmp_path / "krt.yaml"
    file.write_text(krt.text)
    report = load(file, PurePath("shop/krt.yaml"))
    assert report.require().name == "shop"
    assert report.path == PurePath("shop/krt.yaml")


def test_a_file_that_is_not_there_is_an_error_in_the_report(tmp_path: Path) -> None:
    report = load(tmp_path / "krt.yaml")
    (error,) = report.errors
    assert (error.code, error.location, error.line) == ("unreadable-file", "krt", None)
    assert "No such file" in error.message
    assert report.path == tmp_path / "krt.yaml"


def test_folders_fifos_and_impossible_names_are_errors_in_the_report(tmp_path: Path) -> None:
    fifo = tmp_path / "krt.yaml"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.krt.yaml"
    loop.symlink_to(loop)
    for file in (tmp_path, fifo, loop, Path("nul\0byte"), Path("/dev/zero")):
        (error,) = load(file).errors
        assert error.code == "unreadable-file"


def test_no_more_than_the_limit_and_a_byte_is_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.krt.yaml"
    with file.open("wb") as opened:
        opened.truncate(100 << 20)
    before = _bytes_read()
    (error,) = load(file).errors
    assert error.code == "too-large"
    assert _bytes_read() - before < MAX_BYTES + 100_000


def _bytes_read() -> int:
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("this system doesn't count what a process reads")
    return int(counters.read_text().split("rchar: ")[1].split()[0])
