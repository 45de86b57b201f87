"""YAML text to a tree of nodes with their places; nothing of it is ever constructed, imported or executed.

The tree is built from the parser's events and not by its composer: the events come one at a time, so a limit can stop a
hostile document early (the composer recurses as deep as the document does, in C as well).
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, TypeVar, cast

import yaml

from kai_airflow.krt.nodes import Collection, Mapping, Node, Scalar, Sequence
from kai_airflow.krt.report import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
"""The largest KRT that is read."""
MAX_VALUES = 100_000
"""How many values a document may hold, aliases followed. A plain KRT of 1 MiB holds some 70,000."""
MAX_DEPTH = 60
"""How deep a document may be nested, aliases followed. A KRT is 9 deep."""
_LONG = 64  # characters; more text than fits into a file of MAX_BYTES can't make a plain document too large
_MAX_DIRECTIVES = 50  # the parser's time grows with the square of their number

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_T = TypeVar("_T", Scalar, Collection)

_ADVICE = (
    (
        "cannot start any token",
        "Indent with spaces, not tabs, and put a value that begins with @, %, ` or a tab in quotes.",
    ),
    ("mapping values are not allowed", "Put text that holds ': ' in quotes, or mend the indentation of this line."),
    (
        "could not find expected ':'",
        "Write each key as 'key: value', and put text of several lines in quotes or a block.",
    ),
    ("did not find expected key", "Align the key with the others of its mapping, or close the quote before it."),
    ("did not find expected '-' indicator", "Align the entry with the others of its list."),
    ("unexpected end of stream", "Close the quote that was opened."),
    ("did not find expected ',' or", "Close the bracket, or put a comma between its entries."),
    ("escape", "In double quotes write \\\\ for a backslash, or use single quotes."),
)


class UnreadableError(Exception):
    """Text that is no YAML, or more of it than is read. ``issue`` says where and why."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def decode(text: bytes) -> str:
    """Bytes as YAML reads them: UTF-8, or UTF-16 with its byte order mark. Raises UnreadableError."""
    encoding = "utf-8-sig"
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _place(error.object[: error.start].decode(encoding, "ignore"))
        message = f"this is not text: the bytes here are not {encoding.removesuffix('-sig').upper()}"
        raise _unreadable("not-text", line, column, message, "Save the file as UTF-8 text.") from error


def documents(text: str) -> Iterator[Node]:
    """The root of each document, read one at a time. Raises UnreadableError."""
    _refuse_unprintable(text)
    _refuse_directives(text)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.DocumentEndEvent) and builder.root is not None:
                yield builder.root
                builder = _Builder()
            elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from error
    except yaml.YAMLError as error:
        raise _unreadable(
            "yaml-syntax", None, None, f"this is not YAML: {error}", "Save the file as UTF-8 text."
        ) from error


class _Builder:
    """Puts the events of one document together, as deep and as large as the limits allow."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Collection] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._aliased(event))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._anchored(event, _scalar(event)))
        elif isinstance(event, yaml.CollectionStartEvent):
            kind = Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping
            line, column, _, _ = _span(event)
            self._begin(self._anchored(event, kind(line, column, event.tag)))

    def _anchored(self, event: yaml.NodeEvent, node: _T) -> _T:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _aliased(self, event: yaml.AliasEvent) -> Node:
        target = self._anchors.get(event.anchor or "")
        if target is None:
            return _flawed(event, "unknown-alias")
        if not isinstance(target, Scalar) and not target.complete:
            return _flawed(event, "cyclic-alias")
        return target

    def _begin(self, node: Collection) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _too_deep(node)
        self._open.append(node)
        self._keys.append(None)

    def _close(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        node.complete = True
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        self._weigh(parent, node)
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = node
        else:
            parent.entries.append((key, node))
            self._keys[-1] = None

    def _weigh(self, parent: Collection, node: Node) -> None:
        size, height = (_size(node), 1) if isinstance(node, Scalar) else (node.size, node.height)
        parent.size += size
        parent.height = max(parent.height, height + 1)
        self._values += 1
        if parent.size > MAX_VALUES or self._values > MAX_VALUES:
            raise too_many(node.line, node.column)
        if parent.height > MAX_DEPTH:
            raise _too_deep(node)


def _size(scalar: Scalar) -> int:
    """A long text counts as several values: an alias of it costs nothing to write, and all its length to judge."""
    return 1 + len(scalar.text) // _LONG


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    plain = event.tag is None and event.implicit[0]
    return Scalar(*_span(event), event.value, plain, event.tag)


def _flawed(event: yaml.AliasEvent, flaw: str) -> Scalar:
    return Scalar(*_span(event), "", flaw=flaw)


def _span(event: yaml.Event) -> tuple[int, int, int, int]:
    """Line and column, from 1, and where the text begins and ends. Only events made by hand lack their marks."""
    start, end = cast("yaml.Mark", event.start_mark), cast("yaml.Mark", event.end_mark)
    return start.line + 1, start.column + 1, start.index, end.index


def _refuse_unprintable(text: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found:
        line, column = _place(text[: found.start()])
        message = f"this is not text: it holds the character U+{ord(found[0]):04X}"
        raise _unreadable("not-text", line, column, message, "Remove the character, or save the file as UTF-8 text.")


def _refuse_directives(text: str) -> None:
    if sum(1 for _ in _DIRECTIVE.finditer(text)) > _MAX_DIRECTIVES:
        message = f"more than {_MAX_DIRECTIVES} lines begin with %, as directives of YAML do"
        raise _unreadable("too-many-values", None, None, message, "Remove the %TAG lines: a KRT needs none.")


def _place(before: str) -> tuple[int, int]:
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1


def _syntax(error: yaml.MarkedYAMLError, text: str) -> UnreadableError:
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return _unreadable("yaml-syntax", None, None, f"this is not YAML: {problem or context}", "Mend the YAML.")
    since = f", {context} from line {error.context_mark.line + 1}" if context and error.context_mark else ""
    advice = next(
        (advice for sign, advice in _ADVICE if sign in problem), "Mend the YAML here: indentation, quotes, brackets."
    )
    if text[mark.index : mark.index + 1] == "\t":
        problem = "found a tab where YAML wants spaces"
    return _unreadable("yaml-syntax", mark.line + 1, mark.column + 1, f"this is not YAML: {problem}{since}", advice)


def _too_deep(node: Node) -> UnreadableError:
    message = f"values are nested more than {MAX_DEPTH} deep here, aliases followed"
    return _unreadable(
        "too-deep", node.line, node.column, message, "Flatten the document: a KRT needs fewer than 10 levels."
    )


def too_many(line: int | None, column: int | None) -> UnreadableError:
    """What is raised where a document holds more than is read."""
    message = f"the document holds more than {MAX_VALUES:,} values, aliases followed"
    remedy = "Split the product, or use fewer aliases (*name) of large parts."
    return _unreadable("too-many-values", line, column, message, remedy)


def _unreadable(code: str, line: int | None, column: int | None, message: str, remedy: str) -> UnreadableError:
    return UnreadableError(Issue(code, "krt", line, column, message, remedy))
