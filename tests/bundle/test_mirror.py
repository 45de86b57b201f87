"""The folder of generated files follows the folder of KRT files."""

from __future__ import annotations

import logging
import os
import py_compile
import re
import shutil
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from kai_airflow.bundle.access import Access
from kai_airflow.bundle.mirror import MARKER, SETTLED, YOUNG, BundleError, Mirror, read_document
from kai_airflow.bundle.steps import INCOMPLETE, Failure, File, Publication
from kai_airflow.krt import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Write(Protocol):
    def __call__(self, path: str, content: str | bytes = ...) -> Path: ...


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """What tells a touched file or folder from an untouched one: inode, size, times of change."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        found[str(path.relative_to(folder))] = (status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def generated(mirror: Mirror) -> set[str]:
    """The generated files, by path."""
    return {str(p.relative_to(mirror.target)) for p in mirror.target.rglob("*") if p.is_file()} - {MARKER}


def settle(mirror: Mirror) -> None:
    """Let the files become old enough for their times to tell all, and the mirror take note."""
    deadline = time.monotonic() + SETTLED / 1e9 + 10
    while any(path.stat().st_mtime_ns == YOUNG for path in mirror.target.rglob("*.yaml") if path.is_file()):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # a file's age is announced by no event
        mirror.update()


def assert_rests(mirror: Mirror) -> None:
    """Nothing is left to do. A file may have grown old enough for its time to be noted meanwhile, once."""
    if mirror.stale():
        mirror.update()
    assert not mirror.stale()


def module(mirror: Mirror, path: str) -> str:
    return (mirror.target / f"{path}.py").read_text()


@pytest.fixture
def powerless() -> Iterator[Callable[[], None]]:
    """Call it to be a user without rights for the rest of the test, where the tests run as root."""
    user = os.geteuid()
    yield lambda: os.seteuid(65534) if user == 0 else None
    os.seteuid(user)


def test_both_patterns_at_any_depth_become_a_document_and_a_module(mirror: Mirror, write: Write) -> None:
    for path in ("krt.yaml", "a/krt.yaml", "a/b.krt.yaml", "a/b/c/d.krt.yaml"):
        write(path, f"version: {path}")
    for path in ("a/other.yaml", "krt.yml", "a/krt.yaml.py", "notkrt.yaml", "a/dag.py"):
        write(path, "airflow dag")
    mirror.update()
    documents = {"krt.yaml", "a/krt.yaml", "a/b.krt.yaml", "a/b/c/d.krt.yaml"}
    assert generated(mirror) == documents | {f"{path}.py" for path in documents}
    for path in documents:
        assert (mirror.target / path).read_text() == f"version: {path}"
        assert f"load(__file__, '{path}')" in module(mirror, path)


def test_nothing_is_written_into_the_users_folder(mirror: Mirror, dags: Path, write: Write) -> None:
    write("a/krt.yaml")
    before = snapshot(dags)
    mirror.update()
    assert snapshot(dags) == before


def test_an_unchanged_pass_has_nothing_to_do_and_writes_nothing(mirror: Mirror, write: Write) -> None:
    write("a/krt.yaml")
    write("broken/krt.yaml", b"\xff\0")
    mirror.update()
    settle(mirror)
    before = snapshot(mirror.target)
    assert not mirror.stale()
    mirror.update()
    assert snapshot(mirror.target) == before


def test_an_unchanged_pass_reads_no_krt_file(mirror: Mirror, dags: Path, write: Write) -> None:
    """Held by a KRT whose bytes can't have been read: they differ from the copy's, all that stat tells does not."""
    file = write("a/krt.yaml", "version: v1.0.0")
    mirror.update()
    settle(mirror)
    copy = mirror.target / "a/krt.yaml"
    times = copy.stat()
    copy.write_text("VERSION: V1.0.0")
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not mirror.stale()
    file.touch()
    assert mirror.stale()


def test_a_new_file_is_read_again(mirror: Mirror, write: Write) -> None:
    """Two changes within a tick of the clock bear one time: a copy could be of the first. Held as above."""
    write("a/krt.yaml", "version: v1.0.0")
    mirror.update()
    copy = mirror.target / "a/krt.yaml"
    times = copy.stat()
    copy.write_text("VERSION: V1.0.0")
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    mirror.update()
    assert copy.read_text() == "version: v1.0.0"


def test_only_a_changed_file_is_generated_again(mirror: Mirror, write: Write) -> None:
    write("a/krt.yaml")
    write("b/krt.yaml")
    mirror.update()
    settle(mirror)
    before = snapshot(mirror.target)
    write("b/krt.yaml", "version: v2.0.0")
    mirror.update()
    after = snapshot(mirror.target)
    assert {path for path in after if after[path] != before[path]} == {"b", "b/krt.yaml", "b/krt.yaml.py"}
    assert (mirror.target / "b/krt.yaml").read_text() == "version: v2.0.0"
    assert "# version: v2.0.0" in module(mirror, "b/krt.yaml")


@pytest.mark.parametrize("settled", [False, True], ids=["new file", "older file"])
def test_a_change_that_keeps_size_and_modification_time_is_seen(mirror: Mirror, write: Write, settled: bool) -> None:
    """Unpacking an archive and many deployments set a file's modification time."""
    file = write("a/krt.yaml", "version: v1.0.0")
    times = file.stat()
    mirror.update()
    if settled:
        settle(mirror)
    file.write_text("version: v2.0.0")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    mirror.update()
    assert (mirror.target / "a/krt.yaml").read_text() == "version: v2.0.0"
    assert "# version: v2.0.0" in module(mirror, "a/krt.yaml")


def test_a_file_that_was_only_touched_leaves_its_module_untouched(mirror: Mirror, write: Write) -> None:
    """Airflow parses a module again when its modification time changes."""
    file = write("a/krt.yaml")
    mirror.update()
    settle(mirror)
    before = snapshot(mirror.target)["a/krt.yaml.py"]
    file.touch()
    mirror.update()
    assert snapshot(mirror.target)["a/krt.yaml.py"] == before


def test_a_changed_module_is_newer_than_the_parse_before(mirror: Mirror, write: Write) -> None:
    """An older KRT moved in place: Airflow compares the module's modification time with the end of its last parse."""
    write("a/krt.yaml")
    old = write("a/old.txt", "version: v0.9.0")
    os.utime(old, ns=(0, 0))
    mirror.update()
    parsed = time.time_ns() - 20_000_000  # a tick of the file system's clock
    old.replace(old.with_name("krt.yaml"))
    mirror.update()
    assert (mirror.target / "a/krt.yaml.py").stat().st_mtime_ns >= parsed


def test_removed_and_renamed_files_go_with_their_empty_folders(mirror: Mirror, dags: Path, write: Write) -> None:
    write("a/b/krt.yaml")
    write("a/c/krt.yaml")
    write("d/krt.yaml")
    mirror.update()
    (mirror.target / "a/b/__pycache__").mkdir()
    (mirror.target / "a/b/__pycache__/krt.yaml.cpython-311.pyc").touch()
    shutil.rmtree(dags / "a/b")
    (dags / "d").rename(dags / "e")
    mirror.update()
    assert generated(mirror) == {"a/c/krt.yaml", "a/c/krt.yaml.py", "e/krt.yaml", "e/krt.yaml.py"}
    assert {p.name for p in mirror.target.rglob("*") if p.is_dir()} == {"a", "c", "e"}


def test_what_python_compiled_stays_beside_living_modules_alone(mirror: Mirror, dags: Path, write: Write) -> None:
    write("krt.yaml")
    write("b.krt.yaml")
    mirror.update()
    for name in ("krt.yaml.py", "b.krt.yaml.py"):
        compile_module(mirror.target / name)
    before = {p.name for p in (mirror.target / "__pycache__").iterdir()}
    (dags / "b.krt.yaml").unlink()
    mirror.update()
    after = {p.name for p in (mirror.target / "__pycache__").iterdir()}
    assert len(before) == 2
    assert after == {name for name in before if not name.startswith("b.")}
    assert_rests(mirror)


def compile_module(file: Path) -> None:
    py_compile.compile(str(file), doraise=True)


def test_a_file_may_take_the_place_of_a_folder_and_back(mirror: Mirror, dags: Path, write: Write) -> None:
    write("x/krt.yaml/krt.yaml")
    mirror.update()
    assert generated(mirror) == {"x/krt.yaml/krt.yaml", "x/krt.yaml/krt.yaml.py"}
    shutil.rmtree(dags / "x/krt.yaml")
    write("x/krt.yaml")
    mirror.update()
    assert generated(mirror) == {"x/krt.yaml", "x/krt.yaml.py"}
    (dags / "x/krt.yaml").unlink()
    write("x/krt.yaml/krt.yaml")
    mirror.update()
    assert generated(mirror) == {"x/krt.yaml/krt.yaml", "x/krt.yaml/krt.yaml.py"}


def test_two_krts_that_need_one_name_hide_no_other(
    mirror: Mirror, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("x/krt.yaml")
    write("x/krt.yaml.py/krt.yaml")
    write("y/krt.yaml")
    mirror.update()
    assert {"y/krt.yaml.py", "x/krt.yaml.py/krt.yaml.py"} <= generated(mirror)
    assert "x/krt.yaml can't be generated: " in caplog.text


def test_a_name_too_long_for_its_module_hides_no_other(
    mirror: Mirror, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    long = "x" * (255 - len(".krt.yaml")) + ".krt.yaml"
    write(long)
    write("y/krt.yaml")
    mirror.update()
    assert "y/krt.yaml.py" in generated(mirror)
    assert f"{long} can't be generated: " in caplog.text


@pytest.mark.parametrize("name", ["a'\"\n", "a b\t\\", "ünï ☃", "{name}", "'''", "-"], ids=ascii)
def test_folders_keep_their_names(mirror: Mirror, write: Write, name: str) -> None:
    write(f"{name}/krt.yaml")
    mirror.update()
    assert generated(mirror) == {f"{name}/krt.yaml", f"{name}/krt.yaml.py"}
    assert_rests(mirror)


def test_a_name_that_is_not_unicode_is_escaped(mirror: Mirror, dags: Path) -> None:
    folder = dags / os.fsdecode(b"a\xff")
    folder.mkdir()
    (folder / "krt.yaml").write_text("version: v1.0.0")
    mirror.update()
    assert generated(mirror) == {"a\\xff/krt.yaml", "a\\xff/krt.yaml.py"}
    assert_rests(mirror)
    shutil.rmtree(folder)
    mirror.update()
    assert generated(mirror) == set()


def test_what_is_no_file_is_ignored(mirror: Mirror, dags: Path, write: Write) -> None:
    """Opening a FIFO would wait for a writer: this test would never end."""
    for name in ("fifo", "folder", "dangling"):
        (dags / name).mkdir()
    os.mkfifo(dags / "fifo/krt.yaml")
    (dags / "folder/krt.yaml").mkdir()
    (dags / "dangling/krt.yaml").symlink_to(dags / "nowhere")
    write("good/krt.yaml")
    mirror.update()
    assert generated(mirror) == {"good/krt.yaml", "good/krt.yaml.py"}
    assert_rests(mirror)


def test_a_file_that_became_a_fifo_after_it_was_found_is_not_waited_for(dags: Path) -> None:
    os.mkfifo(dags / "krt.yaml")
    with pytest.raises(FileNotFoundError, match=re.escape(str(dags / "krt.yaml"))):
        read_document(dags / "krt.yaml")


def test_a_file_that_becomes_a_fifo_goes(mirror: Mirror, write: Write) -> None:
    file = write("a/krt.yaml")
    mirror.update()
    file.unlink()
    os.mkfifo(file)
    mirror.update()
    assert generated(mirror) == set()


def test_a_linked_file_is_copied(mirror: Mirror, dags: Path, tmp_path: Path, write: Write) -> None:
    """A ConfigMap's files are links; a new content is a new file behind the link."""
    (tmp_path / "1").write_text("version: v1.0.0")
    (tmp_path / "2").write_text("version: v2.0.0")
    (dags / "krt.yaml").symlink_to(tmp_path / "1")
    mirror.update()
    (dags / "new").symlink_to(tmp_path / "2")
    (dags / "new").replace(dags / "krt.yaml")
    mirror.update()
    assert (mirror.target / "krt.yaml").read_text() == "version: v2.0.0"
    assert not (mirror.target / "krt.yaml").is_symlink()


def test_an_unreadable_file_is_an_error_of_its_own_until_it_is_readable(
    open_folder: Path, powerless: Callable[[], None]
) -> None:
    dags, target = open_folder / "dags", open_folder / "generated"
    for path in (dags, dags / "a", dags / "b", target):
        path.mkdir()
    for name in ("a", "b"):
        (dags / name / "krt.yaml").write_text("version: v1.0.0")
    (dags / "a/krt.yaml").chmod(0)
    if os.geteuid() == 0:
        for path in (target, dags / "a/krt.yaml"):
            os.chown(path, 65534, -1)
    powerless()
    mirror = Mirror(dags, target)
    mirror.update()
    assert generated(mirror) == {"a/krt.yaml.py", "b/krt.yaml", "b/krt.yaml.py"}
    assert "raise KaiAirflowError(\"a/krt.yaml: can't be read: Permission denied" in module(mirror, "a/krt.yaml")
    before = snapshot(target)
    assert_rests(mirror)
    assert snapshot(target) == before
    (dags / "a/krt.yaml").chmod(0o600)
    mirror.update()
    assert (target / "a/krt.yaml").read_text() == "version: v1.0.0"
    (dags / "a/krt.yaml").chmod(0)
    mirror.update()
    assert generated(mirror) == {"a/krt.yaml.py", "b/krt.yaml", "b/krt.yaml.py"}


def test_a_folder_that_cannot_be_listed_leaves_all_as_it_is(open_folder: Path, powerless: Callable[[], None]) -> None:
    """A task that runs as another user must not take what it can't see for removed."""
    dags, target = open_folder / "dags", open_folder / "generated"
    dags.mkdir()
    (dags / "krt.yaml").write_text("version: v1.0.0")
    mirror = Mirror(dags, target)
    mirror.update()
    dags.chmod(0)
    powerless()
    with pytest.raises(PermissionError, match="dags"):
        mirror.stale()
    assert generated(mirror) == {"krt.yaml", "krt.yaml.py"}


def test_of_a_large_file_no_more_is_copied_than_is_checked(mirror: Mirror, write: Write) -> None:
    file = write("a/krt.yaml", b"x")
    os.truncate(file, 100 * MAX_BYTES)
    mirror.update()
    assert (mirror.target / "a/krt.yaml").stat().st_size == MAX_BYTES + 1
    assert (mirror.target / "a/krt.yaml.py").stat().st_size < 1000
    settle(mirror)
    assert not mirror.stale()


def test_the_bytes_are_copied_whatever_they_are(mirror: Mirror, write: Write) -> None:
    content = bytes(range(256)) * 16
    write("a/krt.yaml", content)
    mirror.update()
    assert (mirror.target / "a/krt.yaml").read_bytes() == content


def test_another_form_of_module_replaces_the_modules(mirror: Mirror, write: Write) -> None:
    """As after an upgrade, held by a marker and a module of another version."""
    write("a/krt.yaml")
    write("b/krt.yaml")
    mirror.update()
    settle(mirror)
    new = module(mirror, "a/krt.yaml")
    (mirror.target / "a/krt.yaml.py").write_text("import old")
    assert not mirror.stale()
    before = snapshot(mirror.target)["b/krt.yaml.py"]
    (mirror.target / MARKER).write_text("# kai-airflow 0.0.1")
    mirror.update()
    assert module(mirror, "a/krt.yaml") == new
    assert snapshot(mirror.target)["b/krt.yaml.py"] == before
    assert not mirror.stale()


def test_another_source_replaces_all(mirror: Mirror, tmp_path: Path, write: Write) -> None:
    """Two files of one size and time in two folders must not be taken for one."""
    file = write("krt.yaml", "version: v1.0.0")
    mirror.update()
    settle(mirror)
    other = tmp_path / "other"
    other.mkdir()
    (other / "krt.yaml").write_text("version: v2.0.0")
    assert (other / "krt.yaml").stat().st_size == file.stat().st_size
    copy = mirror.target / "krt.yaml"
    os.utime(copy, ns=(0, (other / "krt.yaml").stat().st_ctime_ns))
    Mirror(other, mirror.target).update()
    assert copy.read_text() == "version: v2.0.0"


@pytest.mark.parametrize("victim", ["a/krt.yaml", "a/krt.yaml.py", "a", MARKER])
def test_what_somebody_removed_comes_back(mirror: Mirror, write: Write, victim: str) -> None:
    """Cleaners of /tmp remove old files, and the default place of bundles is there."""
    write("a/krt.yaml")
    mirror.update()
    settle(mirror)
    before = set(snapshot(mirror.target))
    path = mirror.target / victim
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert mirror.stale()
    mirror.update()
    assert set(snapshot(mirror.target)) == before


def test_a_module_that_could_not_be_written_is_written_later(mirror: Mirror, write: Write) -> None:
    """Not even the unchanged pass takes the document beside it for done."""
    write("a/krt.yaml")
    mirror.update()
    settle(mirror)
    code = mirror.target / "a/krt.yaml.py"
    right = code.read_text()
    code.unlink()
    code.mkdir()
    document = mirror.target / "a/krt.yaml"
    everybody = Access(0o644, os.getegid())
    for step in (
        Publication("a/krt.yaml", File(document, document.read_bytes(), everybody), code, YOUNG),
        Failure(document, File(code, b"raise", everybody)),
    ):
        os.utime(document, ns=(YOUNG, YOUNG))
        with pytest.raises(IsADirectoryError):
            step.take()
        assert document.stat().st_mtime_ns == INCOMPLETE
    mirror.update()
    assert code.read_text() == right


def test_what_somebody_put_there_goes(mirror: Mirror, write: Write, tmp_path: Path) -> None:
    """What a crash left, and links, which aren't followed."""
    write("a/krt.yaml")
    mirror.update()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (mirror.target / "a/tmpabc").touch()
    (mirror.target / "a/linked").symlink_to(tmp_path / "precious")
    (mirror.target / "b/c").mkdir(parents=True)
    (mirror.target / "b/c/evil.py").touch()
    mirror.update()
    assert generated(mirror) == {"a/krt.yaml", "a/krt.yaml.py"}
    assert (tmp_path / "precious/file").exists()


def test_a_missing_folder_is_an_empty_one_with_a_warning(
    mirror: Mirror, dags: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("a/krt.yaml")
    mirror.update()
    shutil.rmtree(dags)
    with caplog.at_level(logging.WARNING):
        mirror.update()
    assert generated(mirror) == set()
    assert f"{dags} doesn't exist: create it" in caplog.text
    assert_rests(mirror)
    write("a/krt.yaml")
    mirror.update()
    assert generated(mirror) == {"a/krt.yaml", "a/krt.yaml.py"}


def test_a_file_instead_of_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="file"):
        Mirror(file, tmp_path / "generated").update()


@pytest.mark.parametrize("below", [".", "a"])
def test_the_users_files_are_never_taken_for_generated_ones(dags: Path, write: Write, below: str) -> None:
    file = write("a/krt.yaml")
    with pytest.raises(BundleError, match="another path"):
        Mirror(dags / below, dags).update()
    assert file.exists()


def test_generated_files_below_the_dags_folder_are_not_generated_from(dags: Path, write: Write) -> None:
    write("a/krt.yaml")
    mirror = Mirror(dags, dags / "bundles/generated")
    mirror.update()
    mirror.update()
    assert generated(mirror) == {"a/krt.yaml", "a/krt.yaml.py"}


def test_two_passes_give_the_same_bytes(mirror: Mirror, tmp_path: Path, dags: Path, write: Write) -> None:
    write("a/krt.yaml")
    mirror.update()
    other = Mirror(dags, tmp_path / "other")
    other.update()
    for path in generated(mirror):
        assert (mirror.target / path).read_bytes() == (other.target / path).read_bytes()
