"""The generated module: nothing that a KRT or its name says is ever code."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from airflow.utils.file import might_contain_dag
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.bundle import module
from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

EXECUTED = "raise SystemExit('executed')"
ENDS_OF_LINE = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\\\n", "\0"]
NAMES = ["krt.yaml", "a'\"\n/krt.yaml", "'''\"\"\"\\/krt.yaml", "ünï/☃.krt.yaml", "coding: utf-7/krt.yaml", "{name}{x}"]


def code_of(text: bytes) -> list[ast.stmt]:
    return ast.parse(text).body


def assert_only_loads(text: bytes, name: str) -> None:
    """The code is the template's, and the name stands in it as the literal that it is."""
    call = ast.parse(f"from kai_airflow.dag import load\nglobals().update(load(__file__, {name!a}))").body
    assert [ast.dump(node) for node in code_of(text)] == [ast.dump(node) for node in call]


@pytest.mark.parametrize("end", ENDS_OF_LINE, ids=ascii)
def test_no_end_of_line_ends_the_comment_that_a_line_stands_in(end: str) -> None:
    assert_only_loads(module.loading("krt.yaml", f"a: b{end}{EXECUTED}{end}".encode()), "krt.yaml")


@pytest.mark.parametrize("cookie", ["# coding: utf-7", "# -*- coding: rot13 -*-", "# vim: set fileencoding=utf-16 :"])
def test_a_krt_that_names_an_encoding_does_not_change_the_modules(cookie: str) -> None:
    assert_only_loads(module.loading("krt.yaml", f"{cookie}\n+AAo-{EXECUTED}\n".encode()), "krt.yaml")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_a_literal_and_a_comment(name: str) -> None:
    assert_only_loads(module.loading(name, b"a: b"), name)


@given(name=st.text(st.characters(exclude_categories=["Cs"])), document=st.binary())
def test_whatever_the_bytes_the_code_is_the_templates(name: str, document: bytes) -> None:
    assert_only_loads(module.loading(name, document), name)


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])), document=st.text(st.characters(exclude_categories=["Cs"]))
)
def test_whatever_the_text_the_code_is_the_templates(name: str, document: str) -> None:
    assert_only_loads(module.loading(name, document.encode()), name)


@given(reason=st.text(), name=st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_the_reason_a_failing_module_only_raises(name: str, reason: str) -> None:
    imported, raised = code_of(module.failing(name, reason))
    assert isinstance(imported, ast.ImportFrom)
    assert isinstance(raised, ast.Raise)
    assert isinstance(raised.exc, ast.Call)
    (message,) = raised.exc.args
    assert name in ast.literal_eval(message)
    assert reason in ast.literal_eval(message)


def test_a_failing_module_raises_an_error_that_says_where_what_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "krt.yaml.py"
    file.write_bytes(module.failing("a'\"\n/krt.yaml", "Permission denied"))
    loader = importlib.machinery.SourceFileLoader("broken", str(file))
    spec = importlib.util.spec_from_loader("broken", loader)
    assert spec is not None
    with pytest.raises(KaiAirflowError) as raised:
        loader.exec_module(importlib.util.module_from_spec(spec))
    assert str(raised.value) == (
        "a'\"\n/krt.yaml: can't be read: Permission denied. Let the user that runs Airflow read it, or remove it."
    )


def test_the_code_tab_shows_the_text_line_by_line() -> None:
    text = module.loading("a/krt.yaml", "version: v1.0.0\r\n\r\ndescription:\t'größer ☃'\n".encode()).decode()
    assert text.endswith("\n\n# version: v1.0.0\n#\n# description:\t'größer ☃'\n#\n")
    assert "# Edit this file: a/krt.yaml\n" in text


def test_what_cannot_be_seen_is_shown_escaped() -> None:
    text = module.loading("krt.yaml", "a: '\u202eb\u200bc\xadd'".encode()).decode()
    assert text.endswith("# a: '\\u202eb\\u200bc\\xadd'\n")


def test_secrets_are_masked() -> None:
    document = b"workflows:\n- processes:\n  - config:\n      github_secret: hunter2\n      other: shown\n"
    text = module.loading("krt.yaml", document).decode()
    assert "hunter2" not in text
    assert "github_secret" in text
    assert "other: shown" in text


@pytest.mark.parametrize(
    "document", ["github_secret: hunter2".encode("utf-16-le"), b"secret: hunter2 \xff", b"\xff\xfesecret: hunter2"]
)
def test_text_that_cannot_be_masked_with_certainty_is_not_shown(document: bytes) -> None:
    text = module.loading("krt.yaml", document).decode().replace("\\x00", "").replace("\0", "")
    assert "hunter2" not in text
    assert "not shown" in text


def test_utf_16_is_text_too() -> None:
    text = module.loading("krt.yaml", "github_secret: hunter2\nother: größer\n".encode("utf-16")).decode()
    assert "hunter2" not in text
    assert "# other: größer\n" in text


def test_a_document_that_is_too_large_is_not_shown() -> None:
    assert len(module.loading("krt.yaml", b"a" * (MAX_BYTES + 1))) < 1000


def test_a_zip_archive_in_a_krt_does_not_make_the_module_one() -> None:
    """Airflow imports the members of a DAG file that is a zip archive."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("dag.py", f"airflow dag\n{EXECUTED}")
    document = archive.getvalue().decode("latin-1").encode()  # as text, for a binary one isn't shown
    assert not zipfile.is_zipfile(BytesIO(module.loading("krt.yaml", document.replace(b"\0", b" "))))
    assert not zipfile.is_zipfile(BytesIO(module.loading("krt.yaml", archive.getvalue())))


def test_the_same_file_gives_the_same_module() -> None:
    assert module.loading("krt.yaml", b"a: b") == module.loading("krt.yaml", b"a: b")


@pytest.mark.parametrize("text", [module.loading("x", b""), module.failing("x", "")], ids=["loading", "failing"])
def test_airflows_safe_mode_takes_it_for_a_dag_file(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "x.py"
    file.write_bytes(text)
    assert might_contain_dag(str(file), safe_mode=True)
