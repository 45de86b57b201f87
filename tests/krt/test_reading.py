"""YAML as it comes: places, merges, aliases, documents, encodings, and every kind of text that is no YAML."""

from __future__ import annotations

import codecs
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from kai_airflow.krt import check

if TYPE_CHECKING:
    from kai_airflow.krt import Issue
    from tests.krt.conftest import Krt

PATH = PurePath("shop/krt.yaml")


def only_error(text: bytes) -> Issue:
    (error,) = check(text, PATH).errors
    return error


def test_merge_keys_work_and_own_keys_win(krt: Krt) -> None:
    merged = (
        krt.change(
            "description: A shop",
            "description: A shop\nx-base: &base {image: base:v1, gpu: true}\nx-more: &more {gpu: false, replicas: 4}",
        )
        .change("image: pick:v1", "<<: *base")
        .change("image: pack:v1", "<<: [*base, *more]\n        image: own:v1")
    )
    _, pick, pack, _ = merged.check().require().workflows[0].processes
    assert (pick.image, pick.gpu, pick.replicas) == ("base:v1", True, 1)
    assert (pack.image, pack.gpu, pack.replicas) == ("own:v1", True, 4)


def test_merges_merge_what_their_sources_merge(krt: Krt) -> None:
    bases = "x-a: &a {image: a:v1}\nx-b: &b\n  <<: *a\n  gpu: true"
    merged = krt.change("description: A shop", f"description: A shop\n{bases}").change("image: pick:v1", "<<: *b")
    pick = merged.check().require().workflows[0].processes[1]
    assert (pick.image, pick.gpu) == ("a:v1", True)


def test_a_quoted_merge_sign_is_a_key_like_any_other(krt: Krt) -> None:
    quoted = krt.change("image: pick:v1", "image: pick:v1\n        config: {'<<': x}")
    assert quoted.check().require().workflows[0].processes[1].config == {"<<": "x"}


@pytest.mark.parametrize("source", ["text", "[text]", "[[a]]"])
def test_merging_what_is_no_map_is_an_error(krt: Krt, source: str) -> None:
    changed = krt.change("image: pick:v1", f"image: pick:v1\n        <<: @@{source}")
    error = changed.error()
    assert (error.code, error.location) == ("invalid-merge", "krt.workflows[0].processes[1].<<")
    assert (error.line, error.column) == (changed.line, changed.column)


def test_aliases_work_for_values_and_keys(krt: Krt) -> None:
    aliased = (
        krt.change("CPU: {request: 0.5}", "CPU: &cpu {request: 3}")
        .change("memory: {request: 1Gi}\n        subscriptions: [pack]", "memory: *cpu\n        subscriptions: [pack]")
        .change("image: pick:v1", "image: pick:v1\n        config: {&k key: v, other: *k}")
    )
    processes = aliased.check().require().workflows[0].processes
    assert processes[3].resources.memory.request == "3"
    assert processes[1].config == {"key": "v", "other": "key"}


@pytest.mark.parametrize("second", ["", "# a comment", "~", "---", "...\n---\n..."])
def test_further_documents_may_be_empty(krt: Krt, second: str) -> None:
    assert check(f"---\n{krt.text}---\n{second}\n".encode(), PATH).valid


@pytest.mark.parametrize(
    "second", ["@@a: 1\na: 2", "@@!!python/name:os.system", "@@text", "@@- [a]", "~\n---\n@@''", "@@a: b\n---\nc: d"]
)
def test_a_second_document_is_an_error_where_it_begins_because_kai_never_reads_it(krt: Krt, second: str) -> None:
    changed = type(krt)(f"{krt.text}---\nhere\n").change("here", second)
    error = changed.error()
    assert (error.code, error.location) == ("second-document", "krt")
    assert (error.line, error.column) == (changed.line, changed.column)


def test_a_second_document_that_is_no_yaml_is_an_error_too(krt: Krt) -> None:
    changed = type(krt)(f"{krt.text}---\nhere").change("here", "@@\t- broken: [")
    error = changed.error()
    assert (error.code, error.line, error.column) == ("yaml-syntax", changed.line, changed.column)


@pytest.mark.parametrize(
    ("old", "new", "location"),
    [
        ("description: A shop", "description: A shop\n@@version: v2.0.0", "krt.version"),
        ("image: pick:v1", "image: pick:v1\n        @@'image': again", "krt.workflows[0].processes[1].image"),
        (
            "image: pick:v1",
            "image: pick:v1\n        config: {1: a, @@'1': b}",
            "krt.workflows[0].processes[1].config.1",
        ),
        ("description: A shop", "description: A shop\nx-own: [{a: 1, @@a: 2}]", "krt.x-own[0].a"),
        (
            "{name: goods, scope",
            "{name: goods, @@name: others, scope",
            "krt.workflows[0].processes[1].objectStore.name",
        ),
    ],
)
def test_a_duplicate_key_is_an_error_wherever_it_stands(krt: Krt, old: str, new: str, location: str) -> None:
    changed = krt.change(old, new)
    error = changed.error()
    assert (error.code, error.location) == ("duplicate-key", location)
    assert (error.line, error.column) == (changed.line, changed.column)


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['touch {file}']",
        "!!python/object/new:subprocess.Popen [['touch', '{file}']]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [a]",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {file}']",
        "!!binary aGVsbG8=",
        "!!set {{a}}",
        "!local text",
        "!!str [a]",
    ],
)
def test_a_tag_is_an_error_and_never_executed(krt: Krt, tmp_path: Path, tagged: str) -> None:
    file = tmp_path / "executed"
    changed = krt.change("description: A shop", f"description: A shop\nx-own: @@{tagged.format(file=file)}")
    error = changed.error()
    assert (error.code, error.location) == ("unsupported-tag", "krt.x-own")
    assert (error.line, error.column) == (changed.line, changed.column)
    assert not file.exists()


def test_the_character_that_no_database_takes_is_an_error_wherever_it_stands(krt: Krt) -> None:
    """It would stop the dag-processor for everybody: PostgreSQL takes no text that holds it."""
    changed = krt.change("description: A shop", 'description: @@"A\\0shop"')
    error = changed.error()
    assert (error.code, error.location) == ("nul-character", "krt.description")
    assert (error.line, error.column) == (changed.line, changed.column)
    assert krt.change("description: A shop", 'description: A shop\nx-own: {"\\0": 1}').error().code == "nul-character"


def test_a_tag_in_a_known_place_is_the_only_error_there(krt: Krt) -> None:
    assert krt.change("pick:v1", "!!python/name:os.system").error().code == "unsupported-tag"


@pytest.mark.parametrize(
    ("value", "code", "location"),
    [
        ("@@*nowhere", "unknown-alias", "krt.x-own"),
        ("&a [@@*a]", "cyclic-alias", "krt.x-own[0]"),
        ("&a {b: {c: @@*a}}", "cyclic-alias", "krt.x-own.b.c"),
        ("{@@[a, b]: c}", "invalid-key", "krt.x-own"),
        ("{@@{a: b}: c}", "invalid-key", "krt.x-own"),
        ("{@@~: c}", "invalid-key", "krt.x-own"),
    ],
)
def test_aliases_and_keys_that_can_not_be_are_errors(krt: Krt, value: str, code: str, location: str) -> None:
    changed = krt.change("description: A shop", f"description: A shop\nx-own: {value}")
    error = changed.error()
    assert (error.code, error.location) == (code, location)
    assert (error.line, error.column) == (changed.line, changed.column)


def test_a_cycle_of_merges_is_an_error(krt: Krt) -> None:
    assert krt.change("description: A shop", "description: A shop\nx-own: &a\n  <<: *a").error().code == "cyclic-alias"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encodings_of_yaml_are_read_with_the_same_places(krt: Krt, encoding: str) -> None:
    text = krt.text.replace("A shop", "Größe \U0001f600 {x").replace("v1.0.0", "'\U0001f600'")
    error = only_error(text.encode(encoding))
    assert (error.code, error.line, error.column) == ("invalid-version", 1, 10)
    assert "\U0001f600" in error.message


def test_utf_16_of_either_byte_order(krt: Krt) -> None:
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert check(mark + krt.text.encode(encoding), PATH).valid


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_other_line_breaks_give_the_same_lines(krt: Krt, newline: str) -> None:
    text = krt.text.replace("[pack]", "[pak]").replace("\n", newline)
    error = only_error(text.encode())
    assert (error.code, error.line, error.column) == ("unknown-process", 36, 25)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"a: b\n\xff\xfe: c", 2, 1, "UTF-8"),
        ("a: b\nä: ".encode() + b"\xe9\n", 2, 4, "UTF-8"),
        (b"a: \xed\xa0\x80", 1, 4, "UTF-8"),  # a lone surrogate
        (b"\xff\xfea\x00:\x00 \x00\x00\xd8", 1, 4, "UTF-16"),
        (b"a: b\nc: \x00", 2, 4, "U+0000"),
        (b"\x7fELF\x02\x01\x01", 1, 1, "U+007F"),
        (b"a: \x1b[31m", 1, 4, "U+001B"),
        ("a: b\ufeff".encode(), 1, 5, "U+FEFF"),
        ("a: b".encode("utf-32"), None, None, "U+0000"),
        ("a: b".encode("utf-16-le"), 1, 2, "U+0000"),
    ],
)
def test_bytes_that_are_no_text_are_an_error_with_their_place(
    text: bytes, line: int | None, column: int | None, message: str
) -> None:
    error = only_error(text)
    assert (error.code, error.location) == ("not-text", "krt")
    assert message in error.message
    if line is not None:
        assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "line", "column", "remedy"),
    [
        ("a: b\nc:\n\td: e", 3, 1, "spaces, not tabs"),
        ("a:\n  x-airflow: {schedule: @daily}", 2, 25, "in quotes"),
        ("a: b: c", 1, 5, "in quotes"),
        ("a: 'b", 1, 6, "Close the quote"),
        ("a: [b, c\nd: e", 2, 2, "bracket"),
        ("a: b\n c: d", 2, 3, "indentation"),
        ("a: b\n- c", 2, 1, "Align"),
        ('a: "\\q"', 1, 5, "backslash"),
        ('a: "\\ud800"', 1, 7, "backslash"),
        ("a: |x\n  b", 1, 5, "Mend the YAML"),
        ("%YAML 9.9\n---\na: b", 1, 1, "Mend the YAML"),
        ("a: b\n]", 2, 1, ""),
        ("a: !x!y b", 1, 4, ""),
    ],
)
def test_a_syntax_error_has_its_place_and_a_remedy(text: str, line: int, column: int, remedy: str) -> None:
    error = only_error(text.encode())
    assert (error.code, error.location) == ("yaml-syntax", "krt")
    assert (error.line, error.column) == (line, column)
    assert remedy in error.remedy
    assert error.remedy


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "---", "---\n...\n", "~", "null", "\ufeff"])
def test_an_empty_file_is_an_error(text: str) -> None:
    error = only_error(text.encode())
    assert (error.code, error.location) == ("empty-file", "krt")
