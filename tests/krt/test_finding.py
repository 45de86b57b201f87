"""The KRT files of a folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from kai_airflow.krt import find


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("version: v1.0.0\n")


def found(folder: Path) -> list[str]:
    return [str(path) for path in find(folder)]


def test_both_forms_are_found_at_every_depth_sorted_and_relative(tmp_path: Path) -> None:
    write(tmp_path, "krt.yaml", "b/krt.yaml", "a/shop.krt.yaml", "a/b/c/krt.yaml")
    assert find(tmp_path) == sorted(find(tmp_path))
    assert set(find(tmp_path)) == {
        PurePosixPath("krt.yaml"),
        PurePosixPath("a/b/c/krt.yaml"),
        PurePosixPath("a/shop.krt.yaml"),
        PurePosixPath("b/krt.yaml"),
    }


def test_other_files_hidden_ones_and_folders_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, "krt.yml", "my-krt.yaml", "krt.yaml.bak", "KRT.yaml", ".krt.yaml", ".#krt.yaml", ".git/krt.yaml")
    write(tmp_path, "a/.hidden/b/krt.yaml", "krt.yaml/readme.txt", "x.krt.yaml/krt.yaml")
    assert found(tmp_path) == ["x.krt.yaml/krt.yaml"]


def test_a_folder_that_does_not_exist_or_is_a_file_holds_none(tmp_path: Path) -> None:
    write(tmp_path, "krt.yaml")
    assert find(tmp_path / "nowhere") == []
    assert find(tmp_path / "krt.yaml") == []
    assert find(Path("nul\0byte")) == []


def test_loops_of_links_end(tmp_path: Path) -> None:
    write(tmp_path, "a/krt.yaml", "b/c/krt.yaml")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    (tmp_path / "b/c/across").symlink_to(tmp_path / "a")
    for i in range(30):  # each holds a way to every other: n! ways for who follows them all
        (tmp_path / f"d{i}").mkdir()
        for j in range(30):
            (tmp_path / f"d{i}" / f"to{j}").symlink_to(tmp_path / f"d{j}")
    assert found(tmp_path) == ["a/krt.yaml", "b/c/krt.yaml"]


def test_linked_folders_and_files_are_found_each_folder_once(tmp_path: Path) -> None:
    write(tmp_path, "outside/shop/krt.yaml", "dags/own/krt.yaml")
    (tmp_path / "dags/linked").symlink_to(tmp_path / "outside/shop")
    (tmp_path / "dags/again").symlink_to(tmp_path / "dags/own")
    (tmp_path / "dags/one.krt.yaml").symlink_to(tmp_path / "outside/shop/krt.yaml")
    assert found(tmp_path / "dags") == ["linked/krt.yaml", "one.krt.yaml", "own/krt.yaml"]


def test_a_link_that_leads_nowhere_is_found_so_that_reading_it_tells(tmp_path: Path) -> None:
    (tmp_path / "krt.yaml").symlink_to(tmp_path / "gone")
    assert found(tmp_path) == ["krt.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path, "a/krt.yaml", "b/krt.yaml")
    (tmp_path / "a").chmod(0)
    try:
        assert found(tmp_path) == ["b/krt.yaml"]
    finally:
        (tmp_path / "a").chmod(0o700)


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/sh\xffop"
    Path(os.fsdecode(folder)).mkdir()
    write(tmp_path, "sh\udcffop/krt.yaml", "größe/krt.yaml")
    assert len(found(tmp_path)) == 2
