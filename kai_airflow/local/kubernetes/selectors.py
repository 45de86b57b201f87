"""Label and field selectors, and the part of the objects that a request asks for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from kai_airflow.local.kubernetes.errors import Object, bad_request

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

_KEY = r"(?P<key>(?:[a-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)"
_VALUE = r"(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"{_KEY}\s*(?P<operator>=|==|!=)\s*(?P<value>{_VALUE})", re.ASCII)
_SET = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)", re.ASCII)
_EXISTENCE = re.compile(rf"(?P<operator>!?)\s*{_KEY}", re.ASCII)
_FIELD = re.compile(r"(?P<path>[A-Za-z.]+)(?P<operator>==|!=|=)(?P<value>.*)", re.DOTALL)
_COMMA = re.compile(r",(?![^(]*\))")  # one that doesn't stand inside parentheses


def labels(text: str) -> list[Test]:
    """The tests of a labelSelector. Raises ApiError 400."""
    return [_label(part.strip()) for part in _COMMA.split(text)] if text.strip() else []


def _label(text: str) -> Test:
    if match := _EQUALITY.fullmatch(text):
        return _among(match["key"], {match["value"]}, match["operator"] != "!=")
    if match := _SET.fullmatch(text):
        values = {value.strip() for value in match["values"].split(",")}
        if all(re.fullmatch(_VALUE, value, re.ASCII) for value in values):
            return _among(match["key"], values, match["operator"] == "in")
    if match := _EXISTENCE.fullmatch(text):
        key, wanted = match["key"], not match["operator"]
        return lambda found: (key in found) is wanted
    raise bad_request(f"unable to parse requirement {text!r} of the labelSelector")


def _among(key: str, values: set[str], wanted: bool) -> Test:
    """An absent label satisfies `!=` and `notin`, as in Kubernetes."""
    return lambda found: (found.get(key) in values) is wanted


def fields(text: str, known: frozenset[str]) -> list[Callable[[Object], bool]]:
    """The tests of a fieldSelector over the `known` paths. Raises ApiError 400."""
    return [_field(part.strip(), known) for part in text.split(",")] if text.strip() else []


def _field(text: str, known: frozenset[str]) -> Callable[[Object], bool]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise bad_request(f"unable to parse requirement {text!r} of the fieldSelector")
    path, value, wanted = match["path"], match["value"], match["operator"] != "!="
    if path not in known:
        raise bad_request(f"field label not supported: {path}; known are {', '.join(sorted(known))}")
    return lambda obj: (_at(obj, path) == value) is wanted


def _at(obj: Object, path: str) -> Any:
    return reduce(lambda part, name: part.get(name, {}), path.split("."), obj) or ""


@dataclass(frozen=True)
class View:
    """The objects that a list or watch is about: a kind, a namespace (None: all), and what selectors ask."""

    kind: str
    namespace: str | None
    label_tests: tuple[Test, ...] = ()
    field_tests: tuple[Callable[[Object], bool], ...] = ()

    def shows(self, obj: Object | None) -> bool:
        """Whether the object is part of the view; None never is."""
        if obj is None or self.namespace not in (None, obj["metadata"]["namespace"]):
            return False
        found = obj["metadata"].get("labels") or {}
        return all(test(found) for test in self.label_tests) and all(test(obj) for test in self.field_tests)
