"""Refreshes that meet, and refreshes that are killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from kai_airflow.bundle import KrtDagBundle, module

HERE = Path(__file__).parent
LINES = 400
PROCESSES = 2


def document(number: int) -> str:
    """All of one size, and each line tells which document it belongs to."""
    return "text: |\n" + f"  number {number:06}\n" * LINES


@pytest.fixture
def bundle(tmp_path: Path, dags: Path, monkeypatch: pytest.MonkeyPatch) -> KrtDagBundle:
    """The bundle that programs in ``environment`` see."""
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    return KrtDagBundle(name="krt", path=dags)


def test_a_killed_refresh_leaves_whole_files_and_the_next_one_mends_the_rest(
    dags: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, str(HERE / "kill_refresh.py"), str(dags), "30", "7"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 5, "too few refreshes were killed to tell"


def test_refreshes_in_several_processes_and_threads_while_files_change(
    bundle: KrtDagBundle, dags: Path, environment: dict[str, str]
) -> None:
    """A reader sees a whole document at all times, and the last state is the right one."""
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(HERE / "keep_refreshing.py"), str(dags)],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for _ in range(PROCESSES)
        ]
        for program in programs:
            assert program.stdout is not None
            while program.stdout.readline() != "READY\n":
                assert program.poll() is None
        seen: set[str] = set()
        number = 0
        while number < 100 or (len(seen) < 10 and number < 100_000):
            number += 1
            change(dags, number)
            seen |= read(bundle.path)
        outputs = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * PROCESSES
    assert not any("can't be" in output or "Traceback" in output for output in outputs), outputs
    assert len(seen) >= 10, "the refreshes were too slow to meet a change"
    bundle.refresh()
    expected = {p.parent.name: p.read_bytes() for p in dags.glob("*/krt.yaml")}
    assert {p.parent.name: p.read_bytes() for p in bundle.path.glob("*/krt.yaml")} == expected
    for name, content in expected.items():
        assert (bundle.path / name / "krt.yaml.py").read_bytes() == module.loading(f"{name}/krt.yaml", content)


def change(dags: Path, number: int) -> None:
    """One file is replaced, one is written in place, one comes and goes."""
    for name in ("replaced", "written", "fleeting"):
        (dags / name).mkdir(exist_ok=True)
    new = dags / "replaced/new"
    new.write_text(document(number))
    new.replace(dags / "replaced/krt.yaml")
    (dags / "written/krt.yaml").write_text(document(number))
    fleeting = dags / "fleeting/krt.yaml"
    fleeting.write_text(document(number)) if number % 2 else fleeting.unlink(missing_ok=True)


def read(generated: Path) -> set[str]:
    """The lines of the document that is replaced whole: each read must give one kind of line, and all of them."""
    try:
        lines = (generated / "replaced/krt.yaml").read_text().splitlines()[1:]
    except FileNotFoundError:
        return set()
    assert len(lines) == LINES
    assert len(set(lines)) == 1
    return set(lines)
