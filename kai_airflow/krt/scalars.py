"""What a scalar means where a type is expected, as KAI's YAML reader has it (section 1 of the KAI reference).

Text takes any scalar as written. Numbers and booleans take no text, and what is in quotes is text.
"""

from __future__ import annotations

import contextlib
import math
import re
from datetime import datetime
from typing import TYPE_CHECKING

from kai_airflow.krt.nodes import YAML_TAG, Node, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

# y, yes, on and the like come from YAML 1.1; KAI's reader knows just these spellings of them.
_BOOLEANS = dict.fromkeys(("true", "True", "TRUE", "y", "Y", "yes", "on"), True) | dict.fromkeys(
    ("false", "False", "FALSE", "n", "N", "no", "off"), False
)
_INTEGERS = (
    (re.compile(r"([-+]?)0x([0-9a-fA-F]{1,16})"), 16),
    (re.compile(r"([-+]?)0o?([0-7]{1,22})"), 8),
    (re.compile(r"([-+]?)0b([01]{1,64})"), 2),
    (re.compile(r"([-+]?)([0-9]{1,19})(?:\.0*)?"), 10),
)
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 100
_LONGEST_MOMENT = 40
_INT64 = 1 << 63
MOMENT = "a date or a time"


class WrongTypeError(Exception):
    """A value isn't of the type that its place wants. ``expected`` names that type."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def text(node: Node) -> str:
    """A scalar of any kind, as written; raises WrongTypeError."""
    if not isinstance(node, Scalar):
        raise WrongTypeError("text")
    return node.text


def boolean(node: Node) -> bool:
    """True or false; raises WrongTypeError."""
    value = _BOOLEANS.get(_bare(node, "bool"))
    if value is None:
        raise WrongTypeError("true or false")
    return value


def integer(node: Node) -> int:
    """A whole number of 64 bits, ``3``, ``0x1F``, ``0o17`` or ``3.0``; raises WrongTypeError."""
    written = _bare(node, "int").replace("_", "")
    for form, base in _INTEGERS:
        if found := form.fullmatch(written):
            value = int(found[1] + found[2], base)
            if -_INT64 <= value < _INT64:
                return value
    raise WrongTypeError("a whole number")


def number(node: Node) -> float:
    """A finite number; raises WrongTypeError."""
    written = _bare(node, "float", "int")
    value = float(written) if _NUMBER.fullmatch(written) else math.inf
    if math.isfinite(value):
        return value
    raise WrongTypeError("a number")


def moment(node: Node) -> datetime:
    """A date or a time in ISO 8601, with or without an offset, in quotes or without; raises WrongTypeError."""
    if isinstance(node, Scalar) and len(node.text) <= _LONGEST_MOMENT:
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(node.text)
    raise WrongTypeError(MOMENT)


def data(node: Scalar) -> bool | int | float | str | None:
    """What JSON has for a scalar: null, true, a number where it is one without quotes, else text."""
    if node.is_null:
        return None
    kinds: tuple[Callable[[Node], bool | int | float], ...] = (boolean, integer, number)
    for read in kinds:
        with contextlib.suppress(WrongTypeError):
            return read(node)
    return node.text


def described(node: Scalar) -> str:
    """What a scalar is, for a message; never what it says."""
    if not node.plain:
        return "text"
    kinds: tuple[tuple[Callable[[Node], object], str], ...] = ((boolean, "true or false"), (number, "a number"))
    for read, kind in kinds:
        try:
            read(node)
        except WrongTypeError:
            continue
        return kind
    return "text, or a number too large" if len(node.text) > _LONGEST_NUMBER else "text"


def _bare(node: Node, *tags: str) -> str:
    """What stands there without quotes or under one of the tags; nothing where it is text or too long for a number."""
    if (
        isinstance(node, Scalar)
        and (node.plain or node.tag in {f"{YAML_TAG}{tag}" for tag in tags})
        and len(node.text) <= _LONGEST_NUMBER
    ):
        return node.text
    return ""
