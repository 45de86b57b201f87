"""How typed drafts are read from the tree: a draft is a dataclass whose annotations name keys and types.

One wrong type spoils one field: all the others are read as if it were right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, get_type_hints

from kai_airflow.krt import scalars
from kai_airflow.krt.nodes import Mapping, Node, Scalar, Sequence, members
from kai_airflow.krt.place import Field, Findings, Place, step_to
from kai_airflow.krt.reading import MAX_VALUES, too_many
from kai_airflow.krt.scalars import WrongTypeError
from kai_airflow.krt.structure import is_unusable
from kai_airflow.krt.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from kai_airflow.krt.report import Issue

T = TypeVar("T")
Convert: TypeAlias = Callable[[Node, Place, Findings], T]
"""Makes a value of a node that isn't null; raises WrongTypeError."""

_REMEDIES = {
    "text": "Write text, a number or true/false; a list or a map can't stand here.",
    "a list": "Write a list: '- entry' on lines of their own, or [a, b].",
    "a map": "Write a map: 'key: value' on lines of their own.",
}


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """Stands in a draft's annotations: the key that a field is under, and what it is."""

    name: str
    convert: Convert[T]


def read(node: Node | None, place: Place, findings: Findings, convert: Convert[T]) -> Field[T]:
    """What stands at a place; a wrong type goes to the findings."""
    if node is None or (isinstance(node, Scalar) and node.flaw is None and node.is_null):
        return Field(place)
    if is_unusable(node):
        return Field(place, wrong=True)
    try:
        return Field(place, convert(node, place, findings))
    except WrongTypeError as error:
        if not findings.full:
            findings.error(_wrong_type(node, place, error.expected))
        return Field(place, wrong=True)


def _wrong_type(node: Node, place: Place, expected: str) -> Issue:
    message = f"expected {expected}, but this is {_described(node)}"
    return place.issue("wrong-type", message, _REMEDIES.get(expected, f"Write {expected}, without quotes."))


def keys_of(draft: type) -> dict[str, Key[object]]:
    """The keys of a draft, by the names of its fields."""
    hints = get_type_hints(draft, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def record(draft: type[T], *, extension: str | None = None) -> Convert[T]:
    """A map with the keys of a draft. In an ``extension`` an unknown key is an error; elsewhere KAI ignores it."""
    keys = keys_of(draft)
    known = [key.name for key in keys.values()]

    def convert(node: Node, place: Place, findings: Findings) -> T:
        found = _members(node)
        findings.fields += len(known)  # a list of empty maps costs far more to judge than to write
        if findings.fields > MAX_VALUES:
            raise too_many(place.line, place.column)
        for name in found.keys() - set(known):
            _report_unknown(name, known, _below(place, step_to(name), found[name]), findings, extension)
        fields = {name: _member(found, key, place, findings) for name, key in keys.items()}
        return draft(**fields)

    return convert


def _member(found: dict[str, Node], key: Key[T], place: Place, findings: Findings) -> Field[T]:
    node = found.get(key.name)
    return read(node, _below(place, step_to(key.name), node), findings, key.convert)


def each(convert: Convert[T]) -> Convert[tuple[Field[T], ...]]:
    """A list of one type; null entries are absent."""

    def convert_each(node: Node, place: Place, findings: Findings) -> tuple[Field[T], ...]:
        if not isinstance(node, Sequence):
            raise WrongTypeError("a list")
        fields = (read(item, _below(place, f"[{i}]", item), findings, convert) for i, item in enumerate(node.items))
        return tuple(field for field in fields if not field.absent)

    return convert_each


def text(node: Node, _place: Place, _findings: Findings) -> str:
    """Any scalar, as written."""
    return scalars.text(node)


def integer(node: Node, _place: Place, _findings: Findings) -> int:
    """A whole number."""
    return scalars.integer(node)


def number(node: Node, _place: Place, _findings: Findings) -> float:
    """A number."""
    return scalars.number(node)


def boolean(node: Node, _place: Place, _findings: Findings) -> bool:
    """True or false."""
    return scalars.boolean(node)


@dataclass(frozen=True, slots=True)
class Texts:
    """A map of text to text, such as ``config``."""

    fields: dict[str, Field[str]]

    @property
    def values(self) -> dict[str, str]:
        """The map itself; a null value is an absent one."""
        return {name: field.value for name, field in self.fields.items() if field.value is not None}


def texts(node: Node, place: Place, findings: Findings) -> Texts:
    """A map of text to text."""
    found = _members(node)
    return Texts(
        {name: read(value, _below(place, step_to(name), value), findings, text) for name, value in found.items()}
    )


def _members(node: Node) -> dict[str, Node]:
    if not isinstance(node, Mapping):
        raise WrongTypeError("a map")
    return members(node)


def _below(place: Place, step: str, node: Node | None) -> Place:
    """A place further down: where its node stands or, where there is none, the map that misses it."""
    at = place if node is None else node
    return Place(place.location + step, at.line, at.column)


def _described(node: Node) -> str:
    if isinstance(node, Scalar):
        return scalars.described(node)
    return "a list" if isinstance(node, Sequence) else "a map"


def _report_unknown(name: str, known: list[str], place: Place, findings: Findings, extension: str | None) -> None:
    meant = nearest(name, known) if findings.worth_a_look() else None
    if extension:
        remedy = f"Did you mean {meant}?" if meant else f"It may hold {listed(known, 'and')}."
        findings.error(place.issue("unknown-field", f"{extension} has no field {quoted(name)} here", remedy))
    elif meant:
        message = f"the key {quoted(name)} means nothing to KAI and is ignored"
        findings.warning(place.issue("unknown-key", message, f"Did you mean {meant}?"))
