"""How typed drafts are read from the tree: a draft is a dataclass whose annotations name keys and kinds.

One wrong type spoils one field: all the others are read as if it were right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, get_type_hints

from kai_airflow.krt import scalars
from kai_airflow.krt.nodes import Mapping, Node, Scalar, Sequence, members
from kai_airflow.krt.place import Field, Findings, Place, step_to
from kai_airflow.krt.reading import MAX_VALUES, too_many
from kai_airflow.krt.scalars import WrongTypeError
from kai_airflow.krt.structure import is_unusable
from kai_airflow.krt.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Container
    from collections.abc import Sequence as SequenceOf
    from datetime import datetime

    from kai_airflow.krt.report import Issue

T = TypeVar("T")
Read: TypeAlias = Callable[[Node, Place, Findings], T]
"""Makes a value of a node that isn't null; raises WrongTypeError."""

_REMEDIES = {
    "text": "Write text, a number or true/false; a list or a map can't stand here.",
    "a list": "Write a list: '- entry' on lines of their own, or [a, b].",
    "a map": "Write a map: 'key: value' on lines of their own.",
    scalars.MOMENT: "Write 2026-01-31, or 2026-01-31T06:00:00 with an offset such as Z or +02:00 where it matters.",
}
_KEYS: dict[type, dict[str, Key[object]]] = {}
_PRIVATE = ("x-", ".")
"""How keys begin that are meant for others than KAI: extensions, and holders of anchors."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What may stand somewhere.

    :param read: how a node becomes it
    :param json: the same as JSON Schema, but for the keys of a draft
    :param draft: the draft that it is, or that each of its entries is
    :param closed: whether that has no other keys
    """

    read: Read[T]
    json: dict[str, Any]
    draft: type | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """Stands in a draft's annotations: the key that a field is under, its kind, what it is for, and its bounds.

    ``bounds`` are keywords of JSON Schema; ``required``: absent or null is an error.
    """

    name: str
    kind: Kind[T]
    about: str
    required: bool = False
    bounds: dict[str, Any] | None = None


def read(node: Node | None, place: Place, findings: Findings, convert: Read[T]) -> Field[T]:
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
    if draft not in _KEYS:
        hints = get_type_hints(draft, include_extras=True)
        _KEYS[draft] = {name: hint.__metadata__[0] for name, hint in hints.items()}
    return _KEYS[draft]


def record(draft: type[T], *, extension: str | None = None) -> Kind[T]:
    """A map with the keys of a draft. In an ``extension`` an unknown key is an error; elsewhere KAI ignores it."""
    keys = keys_of(draft)
    known = [key.name for key in keys.values()]
    names = frozenset(known)

    def convert(node: Node, place: Place, findings: Findings) -> T:
        found = _members(node)
        _charge(len(known), place, findings)  # a list of empty maps costs far more to judge than to write
        for name in _others(found, names):
            _report_unknown(name, known, _below(place, step_to(name), found[name]), findings, extension)
        fields = {name: _member(found, key, place, findings) for name, key in keys.items()}
        return draft(**fields)

    return Kind(convert, {"$ref": f"#/definitions/{definition(draft)}"}, draft, extension is not None)


def costly(kind: Kind[T], fields: int) -> Kind[T]:
    """The same kind, where judging one takes as long as judging so many fields."""

    def convert(node: Node, place: Place, findings: Findings) -> T:
        _charge(fields, place, findings)
        return kind.read(node, place, findings)

    return Kind(convert, kind.json, kind.draft, kind.closed)


def _charge(fields: int, place: Place, findings: Findings) -> None:
    findings.fields += fields
    if findings.fields > MAX_VALUES:
        raise too_many(place.line, place.column)


def _member(found: dict[str, Node], key: Key[T], place: Place, findings: Findings) -> Field[T]:
    node = found.get(key.name)
    return read(node, _below(place, step_to(key.name), node), findings, key.kind.read)


def each(kind: Kind[T]) -> Kind[tuple[Field[T], ...]]:
    """A list of one kind; null entries are absent."""

    def convert(node: Node, place: Place, findings: Findings) -> tuple[Field[T], ...]:
        if not isinstance(node, Sequence):
            raise WrongTypeError("a list")
        fields = (read(item, _below(place, f"[{i}]", item), findings, kind.read) for i, item in enumerate(node.items))
        return tuple(field for field in fields if not field.absent)

    return Kind(convert, {"type": "array", "items": nullable(kind.json)}, kind.draft, kind.closed)


def each_or_empty_map(kind: Kind[T]) -> Kind[tuple[Field[T], ...]]:
    """A list of one kind, or ``{}``, which holds none either: KAI's own ``kli process add`` writes it."""
    whole = each(kind)

    def convert(node: Node, place: Place, findings: Findings) -> tuple[Field[T], ...]:
        return () if isinstance(node, Mapping) and not node.entries else whole.read(node, place, findings)

    return Kind(convert, {**whole.json, "type": ["array", "object"], "maxProperties": 0}, kind.draft, kind.closed)


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A map of text to one kind, such as ``config``."""

    fields: dict[str, Field[T]]

    @property
    def values(self) -> dict[str, T]:
        """The map itself; a null value is an absent one."""
        return {name: field.value for name, field in self.fields.items() if field.value is not None}


def table(kind: Kind[T]) -> Kind[Table[T]]:
    """A map of text to one kind."""

    def convert(node: Node, place: Place, findings: Findings) -> Table[T]:
        found = _members(node)
        places = {name: _below(place, step_to(name), value) for name, value in found.items()}
        return Table({name: read(value, places[name], findings, kind.read) for name, value in found.items()})

    return Kind(convert, {"type": "object", "additionalProperties": nullable(kind.json)})


def definition(draft: type) -> str:
    """The name of a draft among the definitions of the JSON Schema."""
    return draft.__name__.removesuffix("Draft")


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema of the same or null: an absent value."""
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    words = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [*kinds, "null"], **words}


def scalar(convert: Callable[[Node], T], json: dict[str, Any]) -> Kind[T]:
    """One value."""
    return Kind(lambda node, _place, _findings: convert(node), json)


text: Kind[str] = scalar(scalars.text, {"type": ["string", "number", "boolean"]})
"""Any scalar, as written."""
integer: Kind[int] = scalar(scalars.integer, {"type": "integer"})
number: Kind[float] = scalar(scalars.number, {"type": "number"})
boolean: Kind[bool] = scalar(scalars.boolean, {"type": "boolean"})
moment: Kind[datetime] = scalar(scalars.moment, {"type": ["string", "integer"]})
"""A date or a time in ISO 8601."""
texts: Kind[Table[str]] = table(text)
"""A map of text to text."""


def _data(node: Node) -> Any:
    """What JSON has for a node. Unusable values were reported: they count as null."""
    if isinstance(node, Scalar):
        return None if node.flaw else scalars.data(node)
    if isinstance(node, Sequence):
        return [_data(item) for item in node.items]
    return {name: _data(value) for name, value in members(node).items()}


anything: Kind[Any] = Kind(lambda node, _place, _findings: _data(node), {})
"""Whatever JSON has."""


def table_of(what: str, kinds: dict[str, Kind[Any]], required: SequenceOf[str] = ()) -> Kind[Table[Any]]:
    """A map with some known keys, each of a kind of its own; another key is an error. ``what`` names it in messages."""

    def convert(node: Node, place: Place, findings: Findings) -> Table[Any]:
        found = _members(node)
        for name in _others(found, kinds):
            _report_unknown(name, [*kinds], _below(place, step_to(name), found[name]), findings, what)
        known = {name: value for name, value in found.items() if name in kinds}
        places = {name: _below(place, step_to(name), value) for name, value in known.items()}
        fields = {name: read(value, places[name], findings, kinds[name].read) for name, value in known.items()}
        for name in required:
            if name not in fields or fields[name].absent:
                lacking = _below(place, step_to(name), found.get(name))
                findings.error(
                    lacking.issue("missing-field", f"the required field {name} is missing", f"Write {name}.")
                )
        return Table(fields)

    properties = {name: kind.json if name in required else nullable(kind.json) for name, kind in kinds.items()}
    must = {"required": list(required)} if required else {}
    return Kind(convert, {"type": "object", "properties": properties, "additionalProperties": False, **must})


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


def _others(found: dict[str, Node], known: Container[str]) -> list[str]:
    """The keys that aren't known, in the order of the text: of a flood the same ones are reported each time."""
    return [name for name in found if name not in known]


def _report_unknown(name: str, known: list[str], place: Place, findings: Findings, extension: str | None) -> None:
    # A key that begins like those of others isn't a misspelt key of KAI: x-name isn't meant to be a name.
    alike = [key for key in known if extension or key.startswith(_PRIVATE) or not name.startswith(_PRIVATE)]
    meant = nearest(name, alike) if findings.worth_a_look() else None
    if extension:
        remedy = f"Did you mean {meant}?" if meant else f"It may hold {listed(known, 'and')}."
        findings.error(place.issue("unknown-field", f"{extension} has no field {quoted(name)} here", remedy))
    elif meant or not name.startswith(_PRIVATE):
        message = f"the key {quoted(name)} means nothing to KAI here and is ignored"
        remedy = f"Did you mean {meant}?" if meant else "Remove it, or begin it with 'x-' where it is meant for others."
        findings.warning(place.issue("unknown-key", message, remedy))
