"""The command `kai-airflow validate`, through its own arguments and run."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.cli import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE = Path(__file__).parents[2] / "dags/github-trainer/krt.yaml"
CLEAN = Path(__file__).parents[2] / "dags/energy-forecast/krt.yaml"
PROGRAM = """
import argparse, sys
from kai_airflow.cli import validate
parser = argparse.ArgumentParser()
validate.arguments(parser)
sys.exit(validate.run(parser.parse_args(sys.argv[1:])))
"""


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    validate.arguments(parser)
    return validate.run(parser.parse_args([str(argument) for argument in arguments]))


def run_process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One valid and one broken KRT, and one at the root."""
    valid = CLEAN.read_text()
    for name, text in (("good/krt.yaml", valid), ("bad/krt.yaml", valid.replace("v1.0.0", "1.0")), ("krt.yaml", valid)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_valid_file_is_0_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(CLEAN) == 0
    assert capsys.readouterr().out == "1 file checked, all valid: 0 errors, 0 warnings\n"


def test_a_warning_is_shown_and_leaves_a_file_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """KAI's own example keeps a secret in its configuration."""
    assert run(EXAMPLE) == 0
    first, location, _, summary = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{EXAMPLE}:19:26: warning: 'github_secret' looks like a secret")
    assert first.endswith("[secret-in-config]")
    assert location.strip() == "at krt.workflows[0].processes[0].config.github_secret"
    assert summary == "1 file checked, all valid: 0 errors, 1 warning"


def test_an_error_is_1_with_place_code_and_remedy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "bad/krt.yaml"
    assert run(file) == 1
    first, location, remedy, summary = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}:1:10: error: ")
    assert first.endswith("[invalid-version]")
    assert location.strip() == "at krt.version"
    assert "v1.0.0" in remedy
    assert summary == "1 file checked, 1 invalid: 1 error, 0 warnings"


def test_a_folder_is_searched_and_its_products_are_named_below_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--format", "json") == 1
    files = json.loads(capsys.readouterr().out)
    assert [(one["file"], one["valid"]) for one in files] == [
        (str(folder / "bad/krt.yaml"), False),
        (str(folder / "good/krt.yaml"), True),
        (str(folder / "krt.yaml"), True),
    ]
    assert [warning["code"] for warning in files[2]["warnings"]] == ["default-product"]


def test_json_is_one_list_with_every_field(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "bad/krt.yaml", CLEAN, "--format", "json") == 1
    bad, good = json.loads(capsys.readouterr().out)
    assert list(bad) == ["file", "valid", "errors", "warnings"]
    (error,) = bad["errors"]
    assert list(error) == ["code", "location", "line", "column", "message", "remedy"]
    assert (error["code"], error["location"], error["line"], error["column"]) == (
        "invalid-version",
        "krt.version",
        1,
        10,
    )
    assert good == {"file": str(CLEAN), "valid": True, "errors": [], "warnings": []}


def test_a_file_that_does_not_exist_is_an_error_of_that_file_and_hides_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder / "nowhere.yaml", folder / "good/krt.yaml", "--format", "json") == 1
    missing, good = json.loads(capsys.readouterr().out)
    assert (missing["valid"], missing["errors"][0]["code"]) == (False, "unreadable-file")
    assert good["valid"]


def test_a_folder_without_krt_files_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 1
    assert "[no-krt-file]" in capsys.readouterr().out


def test_a_file_in_the_current_folder_is_named_by_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "My Shop"
    home.mkdir()
    (home / "krt.yaml").write_bytes(CLEAN.read_bytes())
    monkeypatch.chdir(home)
    assert run("krt.yaml", "--format", "json") == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["file"] == "krt.yaml"
    assert [(error["code"], "'My Shop'" in error["message"]) for error in report["errors"]] == [
        ("invalid-product-name", True)
    ]
    monkeypatch.chdir(CLEAN.parent)
    assert run("krt.yaml") == 0
    assert "all valid: 0 errors, 0 warnings" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--format", "xml", "f"], ["--nonsense", "f"]])
def test_wrong_usage_is_2(arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_no_secret_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad/krt.yaml").write_text(
        EXAMPLE.read_text().replace("github_secret: secret", "github_secret: [hunter2]")
    )
    for form in ("text", "json"):
        assert run(folder, "--format", form) == 1
    assert "hunter2" not in capsys.readouterr().out


def test_output_elsewhere_than_on_a_terminal_has_no_colours(folder: Path) -> None:
    assert b"\x1b" not in run_process(folder).stdout


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal_unless_refused(folder: Path, environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
    command = [sys.executable, "-c", PROGRAM, str(folder / "bad/krt.yaml")]
    try:
        subprocess.run(command, check=False, stdout=theirs, env=variables)
        printed = os.read(ours, 100_000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"invalid-version" in printed
    assert (b"\x1b[31merror" in printed) is coloured


def test_names_and_values_that_the_terminal_can_not_show_are_escaped(folder: Path) -> None:
    strange = folder / "gr\u00f6\u00dfe\x1b[31m.krt.yaml"
    strange.write_text(EXAMPLE.read_text().replace("v1.0.0", "v\u00e4"))
    finished = run_process(strange, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert finished.returncode == 1
    assert b"\\xe4" in finished.stdout
    assert b"\x1b" not in finished.stdout
    assert finished.stderr == b""


def named(product: str, version: str = "v1.0.0") -> str:
    text = CLEAN.read_text().replace("v1.0.0", version)
    return text.replace("workflows:", f"x-airflow: {{product: {product}}}\nworkflows:", 1)


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Two files that give one DAG id, and one that gives another."""
    for name, product in (("a", "shop"), ("b", "shop"), ("c", "mart")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "krt.yaml").write_text(named(product))
    return tmp_path


def test_two_files_with_one_dag_id_have_an_error_each_that_names_the_other(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(twins) == 1
    lines = capsys.readouterr().out.splitlines()
    a, b = twins / "a/krt.yaml", twins / "b/krt.yaml"
    said = "error: the DAG id 'shop.daily' is also that of a workflow in"
    assert lines[0] == f"{a}: {said} {b} [duplicate-dag-id]"
    assert lines[1] == "    at krt.workflows[0].name"
    assert "version_in_dag_id: true" in lines[2]
    assert lines[3] == f"{b}: {said} {a} [duplicate-dag-id]"
    assert lines[6] == "3 files checked, 2 invalid: 2 errors, 0 warnings"


def test_it_is_so_for_files_that_are_named_and_for_programs(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [twins / name / "krt.yaml" for name in ("c", "b", "a")]
    assert run(*files, "--format", "json") == 1
    reports = json.loads(capsys.readouterr().out)
    assert [report["valid"] for report in reports] == [True, False, False]
    (error,) = reports[1]["errors"]
    assert (error["code"], error["location"], error["line"], error["column"]) == (
        "duplicate-dag-id",
        "krt.workflows[0].name",
        None,
        None,
    )
    assert str(files[2]) in error["message"]


def test_versions_side_by_side_are_no_duplicates(twins: Path) -> None:
    for name, version in (("a", "v1.0.0"), ("b", "v2.0.0")):
        text = named("shop", version).replace("product: shop", "product: shop, version_in_dag_id: true")
        (twins / name / "krt.yaml").write_text(text)
    assert run(twins) == 0


def test_a_file_is_no_duplicate_of_itself_whatever_way_leads_to_it(
    twins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (twins / "b/krt.yaml").unlink()
    (twins / "link").symlink_to("a")
    monkeypatch.chdir(twins)
    assert run("a/krt.yaml", "./a/krt.yaml", twins / "a/krt.yaml", "link/krt.yaml", twins) == 0


def test_a_link_to_a_file_is_a_duplicate_of_it(twins: Path) -> None:
    """Airflow is given both."""
    (twins / "b/krt.yaml").unlink()
    (twins / "b/krt.yaml").symlink_to(twins / "a/krt.yaml")
    assert run(twins) == 1


def test_an_invalid_file_gives_no_dag(twins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (twins / "b/krt.yaml").write_text(named("shop").replace("type: data", "type: date"))
    assert run(twins) == 1
    said = capsys.readouterr().out
    assert "[invalid-workflow-type]" in said
    assert "duplicate-dag-id" not in said


def test_of_many_duplicates_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.krt.yaml").write_text(named("shop"))
    assert run(tmp_path) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert f"{tmp_path}/01.krt.yaml, {tmp_path}/02.krt.yaml, " in first
    assert first.endswith("03.krt.yaml and 16 more [duplicate-dag-id]")
