"""Which workflows there are, as the KRT files change."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath

import pytest

from kai_airflow import krt
from kai_airflow.bridge.survey import Survey
from tests.bridge.parts import krt_text


def write(folder: Path, product: str, text: str) -> Path:
    file = folder / product / "krt.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def versions(survey: Survey) -> dict[str, str]:
    return {dag_id: workflow.version for dag_id, workflow in survey.look().items()}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read."""
    read: list[Path] = []
    load = krt.load

    def counted(file: Path, path: PurePosixPath) -> krt.Report:
        read.append(file)
        return load(file, path)

    monkeypatch.setattr(krt, "load", counted)
    return read


def test_files_come_change_and_go_and_only_what_changed_is_read(tmp_path: Path, loads: list[Path]) -> None:
    survey = Survey([tmp_path])
    assert versions(survey) == {}
    one, two = write(tmp_path, "one", krt_text()), write(tmp_path, "two", krt_text())
    assert versions(survey) == {"one.train": "v1.0.0", "two.train": "v1.0.0"}
    assert versions(survey) == {"one.train": "v1.0.0", "two.train": "v1.0.0"}
    assert loads == [one, two]
    one.write_text(krt_text("v2.0.0"))
    assert versions(survey)["one.train"] == "v2.0.0"
    assert loads == [one, two, one]
    two.unlink()
    assert versions(survey) == {"one.train": "v2.0.0"}
    two.write_text(krt_text("v3.0.0"))
    assert versions(survey)["two.train"] == "v3.0.0"


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    file = write(tmp_path, "one", krt_text("v1.0.0"))
    before = file.stat()
    survey = Survey([tmp_path])
    survey.look()
    file.write_text(krt_text("v2.0.0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert versions(survey) == {"one.train": "v2.0.0"}
    other = tmp_path / "other"
    other.write_text(krt_text("v3.0.0"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)
    assert versions(survey) == {"one.train": "v3.0.0"}


@pytest.mark.parametrize(
    "text", ["", "version: [", "version: v1.0.0", "\0", "\udcff", "a: &a [*a, *a]\n" * 100], ids=range(6)
)
def test_a_file_that_is_broken_counts_as_it_was_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    write(tmp_path, "fine", krt_text())
    file = write(tmp_path, "one", krt_text())
    survey = Survey([tmp_path])
    survey.look()
    file.write_text(text, errors="surrogateescape")
    for _ in range(3):
        assert versions(survey) == {"fine.train": "v1.0.0", "one.train": "v1.0.0"}
    assert sum("one/krt.yaml has errors" in line for line in caplog.messages) == 1
    assert f"validate {file}" in caplog.text
    file.write_text(krt_text("v2.0.0"))
    assert versions(survey)["one.train"] == "v2.0.0"


def test_a_file_that_was_always_broken_is_no_workflow(tmp_path: Path) -> None:
    write(tmp_path, "one", "version: [")
    assert Survey([tmp_path]).look() == {}


def test_a_broken_file_that_goes_takes_its_workflows_along(tmp_path: Path) -> None:
    file = write(tmp_path, "one", krt_text())
    survey = Survey([tmp_path])
    survey.look()
    file.write_text("[")
    survey.look()
    file.unlink()
    assert survey.look() == {}


def test_of_two_files_with_one_dag_id_the_first_keeps_it_and_of_two_new_ones_neither_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    first = write(tmp_path / "b", "shop", krt_text())
    survey = Survey([tmp_path])
    assert versions(survey) == {"shop.train": "v1.0.0"}
    second = write(tmp_path / "a", "shop", krt_text("v2.0.0"))
    for _ in range(3):
        assert versions(survey) == {"shop.train": "v1.0.0"}
    (told,) = caplog.messages
    assert str(first) in told
    assert str(second) in told
    assert "Remedy" in told
    assert versions(Survey([tmp_path])) == {}
    first.unlink()
    assert versions(survey) == {"shop.train": "v2.0.0"}


def test_files_of_several_folders_are_found(tmp_path: Path) -> None:
    write(tmp_path / "a", "one", krt_text())
    write(tmp_path / "b", "two", krt_text())
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "missing"]
    assert sorted(versions(Survey(folders))) == ["one.train", "two.train"]


def test_one_folder_inside_another_makes_no_file_two(tmp_path: Path) -> None:
    write(tmp_path / "a", "one", krt_text())
    assert sorted(versions(Survey([tmp_path, tmp_path / "a"]))) == ["one.train"]


def test_names_that_are_no_text_links_in_circles_and_what_may_not_be_read_hide_no_other(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    odd.mkdir()
    (odd / "krt.yaml").write_text(krt_text())
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "krt.yaml").symlink_to("/nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "krt.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.krt.yaml")
    write(tmp_path, "one", krt_text())
    survey = Survey([tmp_path])
    for _ in range(2):
        assert "one.train" in versions(survey)


def test_looking_again_at_many_files_is_quick(tmp_path: Path, loads: list[Path]) -> None:
    for n in range(200):
        write(tmp_path, f"p{n}", krt_text())
    survey = Survey([tmp_path])
    assert len(survey.look()) == 200
    loads.clear()
    assert len(survey.look()) == 200
    assert loads == []
