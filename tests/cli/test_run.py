"""``kai-airflow run``: what it refuses before anything is started, and how it shows lines and results."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from kai_airflow.cli import main
from kai_airflow.cli.outcome import show_published
from kai_airflow.cli.rehearsal import Terminal, readable
from kai_airflow.cli.run import _images

RESOURCES = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M}}"
PROCESSES = f"""\
    - {{name: start, type: trigger, image: none, {RESOURCES}}}
    - {{name: exit, type: exit, image: shop/exit:v1, {RESOURCES}, subscriptions: [start]}}
"""
ONE = f"""\
version: v1.0.0
description: a test
workflows:
  - name: train
    type: training
    processes:
{PROCESSES}"""
TWO = f"{ONE}  - name: report\n    type: data\n    processes:\n{PROCESSES}"
TRIGGERS = (
    ONE.replace("subscriptions: [start]", "subscriptions: [start, also]")
    + f"    - {{name: also, type: trigger, image: none, {RESOURCES}}}\n"
)


def written(folder: Path, text: str, images: str = "shop/exit:v1: ['true']\n") -> str:
    """A KRT in a dags folder of its own; its path."""
    file = folder / "shop" / "krt.yaml"
    file.parent.mkdir()
    file.write_text(text)
    (folder / "images.yaml").write_text(images)
    return str(file)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a run that can't be."""
    assert main(["run", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_an_invalid_krt_is_told_as_validate_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, ONE.replace("[start]", "[stat]"))
    for own, others in (([], []), (["--json"], ["--format", "json"])):
        assert main(["validate", *others, file]) == 1
        expected = capsys.readouterr()
        assert main(["run", *own, file]) == 2
        assert capsys.readouterr() == expected
        assert "stat" in expected.out


def test_of_several_workflows_one_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TWO)
    assert refused(capsys, file) == (
        "kai-airflow: there are 2 workflows. Remedy: name one with --workflow: train or report.\n"
    )
    assert refused(capsys, file, "--workflow", "trains") == (
        "kai-airflow: no workflow 'trains'. Remedy: Did you mean train? It may be train or report.\n"
    )


def test_of_several_triggers_one_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TRIGGERS)
    assert "there are 2 triggers. Remedy: name one with --trigger: start or also." in refused(capsys, file)
    assert "no trigger 'exit'. Remedy: Use start or also." in refused(capsys, file, "--trigger", "exit")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"a": }', "not JSON: line 1, column 7: Expecting value. Remedy: write JSON, as '{\"a\": 1}'."),
        ("", "not JSON: line 1, column 1"),
        ('{"a": [1, NaN]}', "payload at $.a[1]: nan is not JSON"),
        ('{"a": 12345678901234567890}', "payload at $.a: integer too large for a double"),
        ("[" * 100_000, "nested too deeply"),
        ("@absent.json", "absent.json: No such file or directory. Remedy: name a file of JSON."),
        ("@broken.json", "not JSON: line 2, column 1"),
        ("@binary.json", "codec can't decode"),
    ],
)
def test_a_bad_payload_is_told_with_its_place(
    tmp_path: Path, payload: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{\n")
    Path("binary.json").write_bytes(b'"\xff\xff"')
    told = refused(capsys, written(tmp_path, ONE), "--payload", payload)
    assert told.startswith("kai-airflow: --payload: ")
    assert said in told


def test_a_payload_may_come_from_standard_input(tmp_path: Path) -> None:
    program = "import sys; from kai_airflow.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "run", written(tmp_path, ONE), "--payload", "-"]
    ran = subprocess.run(words, input="[1,\n", capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "--payload: not JSON: line 2, column 1" in ran.stderr


def test_an_image_without_a_command_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAI_AIRFLOW_ENGINE", "none")
    file = written(tmp_path, ONE, images="")
    assert f"process exit: image shop/exit:v1 isn't in {tmp_path / 'images.yaml'}; add the line" in refused(
        capsys, file
    )
    other = tmp_path / "other.yaml"
    assert f"{other} doesn't exist" in refused(capsys, file, "--images", str(other))


def test_the_nearest_image_map_counts(tmp_path: Path) -> None:
    file = Path(written(tmp_path, ONE))
    assert _images(file) == tmp_path / "images.yaml"
    (file.parent / "images.yaml").touch()
    assert _images(file) == file.parent / "images.yaml"


def test_without_an_image_map_it_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(written(tmp_path, ONE))
    (tmp_path / "images.yaml").unlink()
    assert f"no images.yaml in {file.parent} or above it. Remedy: " in refused(capsys, str(file))


def test_a_streaming_workflow_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, ONE.replace("type: training", "type: serving"))
    assert "set x-airflow: {mode: batch} in the workflow." in refused(capsys, file)


def test_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, str(tmp_path)) == f"kai-airflow: {tmp_path} is a folder: name a krt.yaml in it\n"


def test_it_needs_no_airflow_itself(tmp_path: Path) -> None:
    program = "import sys, kai_airflow.cli.rehearsal; sys.exit('airflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", ["plain"]),
        ('{"level": "INFO", "ts": 1.5, "logger": "x", "msg": "12 files", "request_id": "r"}', ["12 files"]),
        ('{"level": "warning", "msg": "beware"}', ["WARNING beware"]),
        (
            '{"level": "ERROR", "msg": "failed", "exception": "Traceback\\n  line"}',
            ["ERROR failed", "Traceback", "  line"],
        ),
        ('{"msg": 1}', ['{"msg": 1}']),
        ('["msg"]', ['["msg"]']),
        ("[" * 100_000, ["[" * 1000 + "..."]),
        ("red \x1b[31m and back \u202e", ["red \\x1b[31m and back \\u202e"]),
    ],
)
def test_a_line_is_readable_and_cannot_steer_the_terminal(line: str, shown: list[str]) -> None:
    assert readable([line]) == shown


def test_the_last_lines_are_of_the_last_try_with_its_error_in_full_and_no_line_twice() -> None:
    console = Console(file=io.StringIO(), width=40)
    terminal = Terminal(console)
    for number in (1, 2):
        terminal.lines("exit", [f"try {number}", *(f"line {n}" for n in range(30))])
        terminal.error("exit", ["it ended with exit code 3. Its last lines:", "  line 28", "  line 29", "  and more"])
    expected = [*(f"line {n}" for n in range(10, 30)), "it ended with exit code 3. Its last lines:", "  and more"]
    assert terminal.last == {"exit": expected}
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue().splitlines()
    assert len(printed) == 2 * (31 + 2)
    assert printed[0] == "  exit             │ try 1"
    assert printed[-1] == "  exit             │   and more"


def test_what_was_published_is_json_and_cannot_steer_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=40)
    payload = {"b": "größer" * 20, "a": "\x1b[31m\x9b1m\u2028"}
    show_published(console, "exit", [payload])
    assert isinstance(console.file, io.StringIO)
    first, *rest = console.file.getvalue().splitlines()
    assert first == "published by exit:"
    assert rest[1] == '  "a": "\\u001b[31m\\x9b1m\\u2028",'
    assert json.loads("\n".join(rest).replace("\\x9b", "\\u009b")) == payload
