"""The corpus: whole documents, each with all that is to be said of it, and where.

A file of ``corpus/`` holds documents one behind the other. Each begins with ``### TITLE``, then a line for each issue,
``# SEVERITY CODE LINE LOCATION`` (LINE ``-``: no place in the text), and then the document, whose lines count from 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import jsonschema
import pytest

from kai_airflow.krt import check, json_schema
from kai_airflow.krt.reading import UnreadableError, documents
from kai_airflow.krt.schema import _data
from tests.test_docs import codes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt import Issue

CORPUS = Path(__file__).parent / "corpus"
DOCUMENT = re.compile(r"^### (.*)\n((?:# (?:error|warning) \S+ (?:\d+|-) .*\n)*)", re.MULTILINE)
ISSUE = re.compile(r"# (error|warning) (\S+) (\d+|-) (.*)")
ELSEWHERE = {
    # What lies around a document, not in it: tested where files and folders are.
    "default-product",
    "duplicate-dag-id",
    "invalid-product-name",
    "no-krt-file",
    "too-large",
    "unreadable-file",
}


@dataclass(frozen=True)
class Example:
    """A document, and what is to be said of it: severity, code, line, location."""

    title: str
    text: str
    issues: tuple[tuple[str, str, int | None, str], ...]

    @property
    def valid(self) -> bool:
        return not any(severity == "error" for severity, *_ in self.issues)


def examples() -> Iterator[Example]:
    for file in sorted(CORPUS.glob("*.txt")):
        text = file.read_bytes().decode()
        heads = list(DOCUMENT.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        for head, end in zip(heads, ends, strict=True):
            found = ISSUE.findall(head[2])
            issues = tuple((how, code, None if line == "-" else int(line), where) for how, code, line, where in found)
            yield Example(f"{file.stem}: {head[1]}", text[head.end() : end], issues)


EXAMPLES = list(examples())


def said(severity: str, issues: tuple[Issue, ...]) -> list[tuple[str, str, int | None, str]]:
    return [(severity, issue.code, issue.line, issue.location) for issue in issues]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_all_is_said_of_a_document_and_nothing_else(example: Example) -> None:
    report = check(example.text.encode(), PurePath("shop/krt.yaml"))
    found = [*said("error", report.errors), *said("warning", report.warnings)]
    assert sorted(found, key=str) == sorted(example.issues, key=str)
    assert report.valid == example.valid
    assert all(issue.message and issue.remedy for issue in (*report.errors, *report.warnings))


def test_it_is_a_corpus() -> None:
    assert len(EXAMPLES) >= 150
    assert len({example.title for example in EXAMPLES}) == len(EXAMPLES)
    assert len({example.text for example in EXAMPLES}) == len(EXAMPLES)


def test_each_code_of_the_language_has_a_document() -> None:
    assert {code for example in EXAMPLES for _, code, *_ in example.issues} == set(codes()) - ELSEWHERE


COMPARING = {
    # Rules that compare two values, or look into text in a way that no pattern does.
    "consumer-collision",
    "consumer-too-long",
    "cycle",
    "duplicate-key",
    "duplicate-name",
    "duplicate-subscription",
    "forbidden-subscription",
    "invalid-access-control",
    "invalid-channel",
    "invalid-end-date",
    "invalid-label",
    "invalid-merge",
    "invalid-pod",
    "invalid-quantity",
    "invalid-schedule",
    "invalid-secret-name",
    "invalid-start-date",
    "invalid-timezone",
    "limit-below-request",
    "second-document",
    "self-subscription",
    "unknown-process",
    # What isn't a value any more when an editor's schema sees it.
    "cyclic-alias",
    "empty-file",
    "invalid-key",
    "not-text",
    "nul-character",
    "too-deep",
    "too-many-values",
    "unknown-alias",
    "unsupported-tag",
    "yaml-syntax",
}
SCHEMA = jsonschema.Draft7Validator(json_schema())


def refused_by_the_schema(text: str) -> bool:
    return not SCHEMA.is_valid(_data(next(documents(text))))


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.valid], ids=lambda example: example.title)
def test_the_schema_refuses_nothing_that_is_valid(example: Example) -> None:
    assert not refused_by_the_schema(example.text)


NO_DATES = {"extension: the date today", "extension: the date 31.1.2026", "extension: the date 2026-13-01"}
"""A schema of this dialect knows dates, but none of its readers has to look at them."""
EXPRESSIBLE = [
    example
    for example in EXAMPLES
    if {code for severity, code, *_ in example.issues if severity == "error"} - COMPARING
    and example.title not in NO_DATES
]


@pytest.mark.parametrize("example", EXPRESSIBLE, ids=lambda example: example.title)
def test_the_schema_refuses_what_a_schema_can(example: Example) -> None:
    assert refused_by_the_schema(example.text)


def test_an_editor_is_told_what_each_key_is_for() -> None:
    own = [(name, found) for name, found in json_schema()["definitions"].items() if "V1" not in name]
    for name, definition in [("KRT", json_schema()), *own]:
        for key, schema in definition["properties"].items():
            assert schema.get("description"), f"{name}.{key}"


def test_unreadable_documents_are_left_to_the_validator() -> None:
    with pytest.raises(UnreadableError):
        refused_by_the_schema("a: [")
