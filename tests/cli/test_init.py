"""``kai-airflow init``: what it writes, what it leaves alone, and what it refuses. tests/stack runs it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from kai_airflow import krt
from kai_airflow.cli import init, main
from kai_airflow.cli.run import _require_images
from kai_airflow.plan import compile_product


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said; nothing is written."""
    before = files(Path())
    assert main(["init", *arguments]) == 2
    assert files(Path()) == before
    said = capsys.readouterr()
    assert said.out == ""
    assert ". Remedy: " in said.err
    return said.err


@pytest.mark.parametrize("name", ["my-product", "shop", "a", "0", "x" * 40, "a--b", "null", "1e3", "on"])
def test_what_it_writes_is_a_product_of_that_name_without_a_warning(name: str) -> None:
    assert main(["init", name]) == 0
    assert set(files(Path("dags"))) == {
        "images.yaml",
        f"{name}/.airflowignore",
        f"{name}/krt.yaml",
        f"{name}/programs/entry.py",
        f"{name}/programs/greeter.py",
        f"{name}/programs/report.py",
    }
    report = krt.load(Path("dags", name, "krt.yaml"))
    assert (report.errors, report.warnings) == ((), ())
    (workflow,) = compile_product(report.require()).workflows
    assert (workflow.dag_id, workflow.mode) == (f"{name}.greeting", "batch")
    assert [process.type for process in workflow.processes] == ["trigger", "task", "exit"]


def test_each_image_has_a_program(here: Path) -> None:
    assert main(["init", "shop"]) == 0
    product = krt.load(Path("dags/shop/krt.yaml")).require()
    images = yaml.safe_load(Path("dags/images.yaml").read_text())
    assert set(images) == {process.image for process in product.workflows[0].processes}
    _require_images(here / "dags/images.yaml", compile_product(product).workflows[0])
    for _, program in images.values():
        assert (here / "dags" / program).is_file()
        compile((here / "dags" / program).read_text(), program, "exec")


def test_airflow_does_not_look_for_dags_in_its_programs() -> None:
    main(["init", "shop"])
    assert Path("dags/shop/.airflowignore").read_text() == "programs/\n"


def test_it_says_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "  kai-airflow run dags/my-product/krt.yaml --payload '\"Ada\"'\n" in said
    assert "an Airflow with the DAG my-product.greeting:\n  kai-airflow up\n" in said
    assert said.endswith("  kai-airflow publish my-product\n")
    assert main(["init", "shop", "--dags", "my dags"]) == 0
    said = capsys.readouterr().out
    assert "  kai-airflow validate 'my dags/shop/krt.yaml'\n" in said
    assert "  kai-airflow up --dags 'my dags'\n" in said


@pytest.mark.parametrize("before", ["", "# mine\n", "r/mine:v1: [python, -m, mine]  # mine", "'r/mine:v1':\n- sh\n"])
def test_an_image_map_is_added_to_at_its_end(before: str) -> None:
    Path("dags").mkdir()
    images = Path("dags/images.yaml")
    images.write_text(before)
    known = yaml.safe_load(before) or {}
    for name in ("shop", "mart"):
        assert main(["init", name]) == 0
    text = images.read_text()
    assert text.startswith(before)
    assert yaml.safe_load(text) == known | init._wanted_images("shop") | init._wanted_images("mart")


def test_lines_that_are_there_already_are_not_written_twice() -> None:
    """As after an interruption, or where the product was removed."""
    main(["init", "shop"])
    images = Path("dags/images.yaml").read_text()
    Path("dags/shop").rename("moved")
    assert main(["init", "shop"]) == 0
    assert Path("dags/images.yaml").read_text() == images
    assert files(Path("dags/shop")) == files(Path("moved"))


@pytest.mark.parametrize("text", ["{r/mine:v1: [sh]}\n", "[]\n", "a: [\n", "\xff\x00", "a: b\n...\n"])
def test_an_image_map_that_cannot_be_added_to_is_left_alone(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dags").mkdir()
    Path("dags/images.yaml").write_bytes(text.encode("latin-1"))
    said = refused(capsys, "shop")
    assert "dags/images.yaml can't be added to" in said
    assert "example.com/shop/greeter:v1: [python, ./shop/programs/greeter.py]\n" in said


def test_another_command_for_its_image_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dags").mkdir()
    Path("dags/images.yaml").write_text("example.com/shop/report:v1: [sh]\n")
    assert "has another command for example.com/shop/report:v1" in refused(capsys, "shop")


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dags/shop").mkdir(parents=True)
    Path("dags/file").touch()
    Path("dags/link").symlink_to("nowhere")
    for name in ("shop", "file", "link"):
        assert refused(capsys, name).startswith(f"kai-airflow: dags/{name} exists, and nothing is overwritten.")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "My Shop",
            "'My Shop' is not made of lower case letters, digits and inner dashes. Remedy: Rename it, for example",
        ),
        ("x" * 41, "has 41 characters, of at most 40"),
        ("a/b", "for example to a-b"),
        ("..", "for example to my-name"),
        ("", "is not made of"),
        ("shop\x1b[2J", "'shop\\x1b[2J'"),
        ("tienda-ñ", "for example to tienda"),
    ],
)
def test_a_name_that_breaks_the_rules_is_told_how(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, name)


def test_where_nothing_can_be_written_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert "file: File exists. Remedy: choose another folder with --dags." in refused(capsys, "--dags", "file")
    assert "no/where: No such file or directory" in refused(capsys, "--dags", "no/where")
    Path("dags/images.yaml").mkdir(parents=True)
    assert "dags/images.yaml: Is a directory" in refused(capsys)


def test_who_is_interrupted_can_do_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    for broken in ("_add_images", "_images"):
        with monkeypatch.context() as patch:
            patch.setattr(init, broken, interrupted)
            assert main(["init", "shop"]) == 130
        assert list(Path("dags").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        assert main(["init", "shop"]) == 130
    assert list(Path("dags").iterdir()) == [Path("dags/images.yaml")]
    assert main(["init", "shop"]) == 0
