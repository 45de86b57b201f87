"""The tree that YAML text becomes: every node knows its place, and nothing is interpreted yet.

An alias is the very node that it names, so a tree may share nodes; reading.py bounds how large and how deep it is when
walked in full, and refuses a node that holds itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

YAML_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True, eq=False)
class Scalar:
    """One value as written. ``plain``: neither quoted, nor in a block, nor tagged. ``flaw``: why it can't be used."""

    line: int
    column: int
    start: int
    end: int
    text: str
    plain: bool = False
    tag: str | None = None
    flaw: str | None = None

    @property
    def is_null(self) -> bool:
        """Whether it stands for an absent value."""
        return (self.plain and self.text in _NULLS) or self.tag == f"{YAML_TAG}null"

    @property
    def is_merge(self) -> bool:
        """Whether, as a key, it merges another mapping into its own."""
        return self.text == "<<" and (self.plain or self.tag == f"{YAML_TAG}merge")


@dataclass(slots=True, eq=False)
class Sequence:
    """A list. ``size`` and ``height`` count what hangs below it, aliases included."""

    line: int
    column: int
    tag: str | None = None
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1
    complete: bool = False


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys and values in their order, duplicates and merge keys as they stand."""

    line: int
    column: int
    tag: str | None = None
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    size: int = 1
    height: int = 1
    complete: bool = False


Collection: TypeAlias = Sequence | Mapping
Node: TypeAlias = Scalar | Collection


def members(mapping: Mapping) -> dict[str, Node]:
    """What a mapping says by key, merges followed: its own keys win, then the sources in their order."""
    own: dict[str, Node] = {}
    for key, value in mapping.entries:
        if isinstance(key, Scalar) and not key.is_merge:
            own.setdefault(key.text, value)
    for source in _merged(mapping):
        for name, value in members(source).items():
            own.setdefault(name, value)
    return own


def _merged(mapping: Mapping) -> Iterator[Mapping]:
    for key, value in mapping.entries:
        if isinstance(key, Scalar) and key.is_merge:
            sources = value.items if isinstance(value, Sequence) else [value]
            yield from (source for source in sources if isinstance(source, Mapping))
