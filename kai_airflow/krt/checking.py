"""Bytes to a report: the one way in, for whatever a file may hold."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import PurePath
from typing import TYPE_CHECKING

from kai_airflow.krt import reading, rules, schema, structure
from kai_airflow.krt.building import build
from kai_airflow.krt.draft import ProductDraft
from kai_airflow.krt.nodes import Node, Scalar
from kai_airflow.krt.place import MAX_ISSUES, Findings, Place
from kai_airflow.krt.product_name import product_name
from kai_airflow.krt.reading import MAX_BYTES
from kai_airflow.krt.report import Issue, Report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kai_airflow.krt.model import Product

_product = schema.record(ProductDraft).read


def check(text: bytes, path: PurePath) -> Report:
    """Everything that is right or wrong with a KRT; never raises, whatever the bytes.

    ``path`` is that of the file, relative to the dags folder: the product may be named by it, and messages show it.
    """
    findings = Findings()
    product = None
    try:
        product = _judge(_root(text, findings), path, findings)
    except reading.UnreadableError as error:
        findings.error(error.issue)
    return Report(path, product, _in_order(findings.errors), _in_order(findings.warnings))


def load(file: Path, path: PurePath | None = None) -> Report:
    """Checks a file, reading at most MAX_BYTES + 1 bytes of it; one that can't be read has an error in its report."""
    path = PurePath(file) if path is None else path
    try:
        text = _read(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the file can't be read: {reason}"
        return _refused(path, "unreadable-file", message, "Check that the file exists and may be read.")
    return check(text, path)


def _read(file: Path) -> bytes:
    # Without O_NONBLOCK a FIFO named krt.yaml would hold up everything that reads KRTs.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        return opened.read(MAX_BYTES + 1)


def _root(text: bytes, findings: Findings) -> Node:
    if len(text) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES:,} bytes"
        raise reading.UnreadableError(_issue("too-large", message, "Split the product, or move data out of the KRT."))
    documents = reading.documents(reading.decode(text))
    root = next(documents, None)
    if root is None or _is_empty(root):
        message = "the file holds no KRT: it is empty"
        raise reading.UnreadableError(
            _issue("empty-file", message, "Write at least version, description and workflows.")
        )
    if further := next((document for document in documents if not _is_empty(document)), None):
        place = Place("krt", further.line, further.column)
        message = "a second document begins here, and KAI reads the first alone"
        findings.error(place.issue("second-document", message, "Move it to a file of its own, or remove the '---'."))
    return root


def _is_empty(document: Node) -> bool:
    return isinstance(document, Scalar) and document.is_null


def _judge(root: Node, path: PurePath, findings: Findings) -> Product | None:
    """The rules of each stage; a broken one leaves those of the next in force."""
    _take(structure.problems(root), findings)
    draft = schema.read(root, Place("krt", root.line, root.column), findings, _product).value
    if draft is None:
        return None
    name = product_name(draft, path, findings)
    _take(rules.errors(name, draft), findings)
    for issue in itertools.islice(rules.warnings(draft), MAX_ISSUES):
        findings.warning(issue)
    return None if findings.errors else build(name, draft)


def _take(issues: Iterable[Issue], findings: Findings) -> None:
    for issue in issues:
        findings.error(issue)
        if findings.full:
            return


def _in_order(issues: list[Issue]) -> tuple[Issue, ...]:
    return tuple(sorted(issues, key=lambda issue: (issue.line or 0, issue.column or 0, issue.location, issue.code)))


def _issue(code: str, message: str, remedy: str) -> Issue:
    return Place("krt", None, None).issue(code, message, remedy)


def _refused(path: PurePath, code: str, message: str, remedy: str) -> Report:
    return Report(path, None, (_issue(code, message, remedy),), ())
