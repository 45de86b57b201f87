"""Who may read a KRT may read its copy, and nobody else; nobody else may write it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bundle.mirror import MARKER, Mirror

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def dags(open_folder: Path) -> Path:
    """A dags folder that everybody may look into."""
    folder = open_folder / "home/dags"
    (folder / "a").mkdir(parents=True)
    (folder / "a/krt.yaml").write_text("version: v1.0.0")
    for path in (folder.parent, folder, folder / "a"):
        path.chmod(0o755)
    return folder


@pytest.fixture
def mirror(open_folder: Path, dags: Path) -> Mirror:
    return Mirror(dags, open_folder / "generated")


@pytest.mark.parametrize(
    ("original", "copy"),
    [(0o600, 0o600), (0o640, 0o640), (0o644, 0o644), (0o666, 0o644), (0o440, 0o440), (0o4777, 0o755)],
)
def test_document_and_module_have_the_files_mode_but_nobody_else_writes(
    mirror: Mirror, dags: Path, original: int, copy: int
) -> None:
    (dags / "a/krt.yaml").chmod(original)
    mirror.update()
    assert mode(mirror.target / "a/krt.yaml") == copy
    assert mode(mirror.target / "a/krt.yaml.py") == copy


@pytest.mark.parametrize(("original", "copy"), [(0o700, 0o700), (0o750, 0o750), (0o777, 0o755), (0o2775, 0o755)])
def test_folders_have_the_folders_mode(mirror: Mirror, dags: Path, original: int, copy: int) -> None:
    (dags / "a").chmod(original)
    mirror.update()
    assert mode(mirror.target / "a") == copy


def test_a_mode_that_changes_later_is_followed(mirror: Mirror, dags: Path) -> None:
    mirror.update()
    for path in (dags / "a/krt.yaml", dags / "a", dags):
        path.chmod(path.stat().st_mode & 0o700)
    mirror.update()
    assert [mode(mirror.target / path) for path in ("a/krt.yaml", "a/krt.yaml.py", "a", "")] == [
        0o600,
        0o600,
        0o700,
        0o700,
    ]


@pytest.mark.parametrize(("home", "root"), [(0o755, 0o755), (0o711, 0o755), (0o750, 0o750), (0o700, 0o700)])
def test_a_closed_folder_above_the_dags_folder_closes_the_copies(
    mirror: Mirror, dags: Path, home: int, root: int
) -> None:
    """The default place of bundles is /tmp, where nothing else would."""
    dags.parent.chmod(home)
    mirror.update()
    assert mode(mirror.target) == root


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to a group takes root")
def test_a_group_reads_the_copy_where_it_reads_the_original(mirror: Mirror, dags: Path) -> None:
    file = dags / "a/krt.yaml"
    os.chown(file, -1, 4242)
    file.chmod(0o640)
    mirror.update()
    copy = mirror.target / "a/krt.yaml"
    assert (copy.stat().st_gid, mode(copy)) == (4242, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to a group takes root")
@pytest.mark.parametrize(("original", "copy"), [(0o640, 0o600), (0o644, 0o644)])
def test_a_group_that_the_copy_cannot_be_given_to_is_not_mistaken_for_ones_own(
    mirror: Mirror, dags: Path, original: int, copy: int
) -> None:
    file = dags / "a/krt.yaml"
    os.chown(file, 65534, 4242)
    file.chmod(original)
    mirror.target.mkdir()
    os.chown(mirror.target, 65534, 65534)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        mirror.update()
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert (mirror.target / "a/krt.yaml").stat().st_gid == 65534
    assert mode(mirror.target / "a/krt.yaml") == copy


def test_the_marker_can_be_read_by_every_user(mirror: Mirror) -> None:
    mirror.update()
    assert mode(mirror.target / MARKER) == 0o644
