"""`kai-airflow run`, end to end: results, failures, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.demo.event import expected, push_event
from kai_airflow.local import guard
from tests.stack.conftest import COMMAND, STOPPED, command
from tests.stack.krts import krt, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAGS = Path(__file__).parents[2] / "dags"
ENDED = 120.0  # seconds for a run; about ten on two idle cores
SECRET = "hunter2-hunter2"
START = process("start", "trigger", "none")
PROGRAMS = [sys.executable, "-u", str(Path(__file__).with_name("processes.py"))]
IMAGES = {
    "test/forward": [*PROGRAMS, "forward"],
    "test/flip": [*PROGRAMS, "flip"],
    "test/plain": ["sh", "-c", "echo I speak no NATS; sleep 600"],
    # Everything that it was told, secrets included.
    "test/teller": ["sh", "-c", "cat $KAI_APP_CONFIG_PATH/app.yaml; exit 3"],
}


class Run:
    """A running `kai-airflow run`, whose temporary files, home and current folder are the test's own."""

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self.folder = folder
        folder.mkdir()
        self.process = subprocess.Popen(
            [*COMMAND, "run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), "HOME": str(folder), **environment},
            start_new_session=True,
        )
        self.seen: list[int] = []

    def wait_for(self, text: str) -> None:
        """Read on until a line of standard output has this text; all processes of then must be gone afterwards."""
        assert self.process.stdout is not None
        assert any(text in line for line in self.process.stdout)
        self.seen = guard.descendants(self.process.pid)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it wrote to standard output and error (since the last look)."""
        out, err = self.process.communicate(timeout=ENDED)
        return self.process.returncode, out, err

    def left(self) -> list[str]:
        """What it left, when that has had time to go: files, and processes by their command line."""
        deadline = time.monotonic() + STOPPED
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _left(self) -> list[str]:
        files = [str(file) for file in self.folder.iterdir()]
        return files + [line for pid in self.seen if (line := command(pid))]


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts `kai-airflow run` with these arguments and additions to the environment; each must leave nothing."""
    started: list[Run] = []

    def start(*arguments: str | Path, **environment: str) -> Run:
        started.append(Run(tmp_path / f"run-{len(started)}", *arguments, **environment))
        return started[-1]

    yield start
    for run in started:
        run.close()
        assert run.left() == []


def product(folder: Path, *processes: str) -> Path:
    """A KRT in a dags folder with the images of these tests."""
    file = folder / "dags" / "shop" / "krt.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(krt(START, *processes))
    (folder / "dags" / "images.yaml").write_text(json.dumps(IMAGES))
    return file


def states(result: dict[str, Any]) -> dict[str, str]:
    return {task["process"]: task["state"] for task in result["tasks"]}


def test_two_runs_at_once_have_the_results_that_their_payloads_determine(
    start_run: Callable[..., Run], tmp_path: Path
) -> None:
    events = [push_event(7), push_event(8)]
    example = DAGS / "github-trainer" / "krt.yaml"
    runs = [start_run(example, "--json", "--payload", json.dumps(event)) for event in events]
    for run, event in zip(runs, events, strict=True):
        code, out, err = run.end()
        assert code == 0, err
        result = json.loads(out)
        assert result["dag_id"] == "github-trainer.training-workflow"
        assert result["state"] == "success"
        assert set(states(result).values()) == {"success"}
        assert result["published"] == {"exit": [expected(event)]}
        assert "splitter         running" in err
        assert "go files" in err
        assert "\x1b" not in err


def test_a_product_to_start_from_runs_at_once(start_run: Callable[..., Run], tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    subprocess.run([*COMMAND, "init", "shop", "--dags", dags], check=True, stdout=subprocess.PIPE)
    runs = [start_run(dags / "shop" / "krt.yaml", "--json", *more) for more in ([], ["--payload", '"Ada"'])]
    for run, name in zip(runs, ("world", "Ada"), strict=True):
        code, out, err = run.end()
        assert code == 0, err
        result = json.loads(out)
        assert states(result) == {"entry": "success", "greeter": "success", "report": "success"}
        assert result["published"] == {"report": [{"greeting": f"Hello, {name}!"}]}


def test_a_channel_on_which_nothing_was_published_skips_its_task(start_run: Callable[..., Run], tmp_path: Path) -> None:
    file = product(
        tmp_path,
        process("flip", "task", "test/flip", "start"),
        process("left", "task", "test/forward", "flip.left"),
        process("right", "task", "test/forward", "flip.right"),
        process("exit", "exit", "test/forward", "left", "right"),
    )
    payload = tmp_path / "payload.json"
    payload.write_text('{"größe": 1}')
    code, out, err = start_run(file, "--payload", f"@{payload}", PYTHONIOENCODING="ascii").end()
    assert (code, err) == (0, "")
    assert "right            skipped" in out
    assert '"gr\\xf6\\xdfe": 1' in out[out.index("published by exit:") :]


def test_a_failing_process_is_retried_and_its_last_lines_are_shown_without_secrets(
    start_run: Callable[..., Run], tmp_path: Path
) -> None:
    more = f", config: {{api_token: {SECRET}}}, x-airflow: {{retries: 1}}"
    file = product(
        tmp_path,
        process("tell", "task", "test/teller", "start", more=more),
        process("exit", "exit", "test/forward", "tell"),
    )
    code, out, err = start_run(file).end()
    assert (code, err) == (1, "")
    assert "tell             up_for_retry" in out
    assert "exit             upstream_failed" in out
    last = out[out.index("last lines of tell:") :]
    assert "exit code 3" in last
    assert '"api_token": "***"' in out
    assert SECRET not in out


@pytest.mark.parametrize(
    ("number", "when", "code"),
    [
        (signal.SIGTERM, "nats-server ready", 130),
        (signal.SIGINT, "I speak no NATS", 130),
        (signal.SIGKILL, "I speak no NATS", -signal.SIGKILL),
    ],
)
def test_nothing_is_left_when_it_is_ended(
    start_run: Callable[..., Run], tmp_path: Path, number: signal.Signals, when: str, code: int
) -> None:
    """No process, no folder: see the fixture."""
    run = start_run(product(tmp_path, process("exit", "exit", "test/plain", "start")))
    run.wait_for(when)
    assert len(run.seen) >= 3  # the janitor, a guard, a part
    run.process.send_signal(number)
    assert run.end()[0] == code
