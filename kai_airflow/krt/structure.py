"""What must hold for every value of a document, known to KAI or not: keys, tags, aliases, merges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kai_airflow.krt.nodes import YAML_TAG, Mapping, Node, Scalar, Sequence
from kai_airflow.krt.place import Place, step_to
from kai_airflow.krt.sensitive import is_sensitive
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.report import Issue

_TAGS: dict[type, frozenset[str]] = {
    Scalar: frozenset(f"{YAML_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "merge")),
    Sequence: frozenset({f"{YAML_TAG}seq"}),
    Mapping: frozenset({f"{YAML_TAG}map"}),
}
_FLAWS = {
    "unknown-alias": (
        "this alias (*name) names an anchor that doesn't stand before it",
        "Put &name before the value that is meant, or the text in quotes if it is no alias.",
    ),
    "cyclic-alias": (
        "this alias (*name) stands inside the very value that it names",
        "Write the value out instead of the alias.",
    ),
}


def is_tagged_wrongly(node: Node) -> bool:
    """Whether a tag asks for something that a KRT doesn't hold, such as an object of Python."""
    return node.tag is not None and node.tag != "!" and node.tag not in _TAGS[type(node)]


def is_unusable(node: Node) -> bool:
    """Whether nothing can be read from a node; ``problems`` reports why."""
    return is_tagged_wrongly(node) or (isinstance(node, Scalar) and node.flaw is not None)


def problems(root: Node) -> Iterator[Issue]:
    """Everything that is wrong with the tree itself. A node with several aliases is looked at once."""
    if _is_sound(root):  # as most are: to look costs less than to keep the ways to all that is looked at
        return
    seen: set[int] = set()
    pending = [(root, _Path(None, "krt"))]
    while pending:
        node, path = pending.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield from _own_problems(node, path)
            pending.extend(_below(node, path))


def _is_sound(root: Node) -> bool:
    nowhere = _Path(None, "")
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        if next(_own_problems(node, nowhere), None):
            return False
        if isinstance(node, Sequence):
            seen.add(id(node))
            pending.extend(node.items)
        elif isinstance(node, Mapping):
            seen.add(id(node))
            for entry in node.entries:
                pending.extend(entry)
    return True


class _Path(NamedTuple):
    """The way to a node, written out only where an issue needs it. ``hidden``: it leads through a sensitive key."""

    above: _Path | None
    step: str
    hidden: bool = False

    def below(self, step: str) -> _Path:
        """One step further; what is below a sensitive key isn't named, since a name there may be the secret itself."""
        return self if self.hidden else _Path(self, step, is_sensitive(step))

    def __str__(self) -> str:
        steps: list[str] = []
        path: _Path | None = self
        while path is not None:
            steps.append(path.step)
            path = path.above
        return "".join(reversed(steps))


def _own_problems(node: Node, path: _Path) -> Iterator[Issue]:
    if is_tagged_wrongly(node):
        # The tag isn't quoted: what follows an exclamation mark may be a password that lacks its quotes.
        message = "a tag (!name) stands here that a KRT may not hold; it was not executed"
        remedy = "Remove the tag, or put text that begins with ! in quotes."
        yield _place(path, node).issue("unsupported-tag", message, remedy)
    if isinstance(node, Scalar) and node.flaw is not None:
        yield _place(path, node).issue(node.flaw, *_FLAWS[node.flaw])
    if isinstance(node, Scalar) and "\0" in node.text:
        # PostgreSQL, where Airflow keeps DAGs, takes no such text: it would stop the dag-processor for everybody.
        message = "the character U+0000 (written \\0) stands in this text"
        yield _place(path, node).issue("nul-character", message, "Remove it.")
    if isinstance(node, Mapping):
        yield from _key_problems(node, path)


def _key_problems(node: Mapping, path: _Path) -> Iterator[Issue]:
    lines: dict[str, int] = {}
    for key, value in node.entries:
        if not isinstance(key, Scalar) or key.is_null:
            message = "a key is text, but here it is a list, a map or nothing"
            yield _place(path, key).issue("invalid-key", message, "Write 'key: value' with a text as the key.")
            continue
        if key.text in lines:
            yield _duplicate(key, path, lines[key.text])
        lines.setdefault(key.text, key.line)
        if key.is_merge and not _is_mergeable(value):
            message = "<< merges a map, or a list of maps, and this is neither"
            yield _place(path.below(".<<"), value).issue(
                "invalid-merge", message, "Merge the alias of a map: '<<: *name'."
            )


def _duplicate(key: Scalar, path: _Path, first: int) -> Issue:
    name = "a key" if path.hidden else f"the key {quoted(key.text)}"
    place = _place(path.below(step_to(key.text)), key)
    return place.issue("duplicate-key", f"{name} is given twice, first on line {first}", "Keep one of them.")


def _is_mergeable(value: Node) -> bool:
    sources = value.items if isinstance(value, Sequence) else [value]
    return all(isinstance(source, Mapping) or is_unusable(source) for source in sources)


def _below(node: Node, path: _Path) -> Iterator[tuple[Node, _Path]]:
    if isinstance(node, Sequence):
        yield from ((item, path.below(f"[{i}]")) for i, item in enumerate(node.items))
    elif isinstance(node, Mapping):
        for key, value in node.entries:
            yield key, path
            yield value, path.below(step_to(key.text)) if isinstance(key, Scalar) else path


def _place(path: _Path, node: Node) -> Place:
    return Place(str(path), node.line, node.column)
