"""One line of a process's output as Airflow's log should show it: its level and its text. Pure.

KAI's SDKs log one JSON object a line, the Go one by zap with logr, the Python one by loguru, this project's helper
alike: ``level``, ``ts`` (seconds since 1970), ``logger``, ``caller``, ``msg``, ``request_id`` while a request is in
hand, and whatever the process adds (``error``, ``stacktrace``, its own keys). Anything else stays as it is.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, NamedTuple

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "success": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
# Those that Airflow's own level doesn't tell apart are shown as well.
_TOLD_BY_AIRFLOW = frozenset({"debug", "info", "warn", "warning", "error", "critical"})

# What matters to whom wrote the process comes before these.
_LAST = ("caller", "logger", "ts")

_BARE_KEY = re.compile(r"[\w.@/-]+", re.ASCII)
_BARE_VALUE = re.compile(r"(?!(?:true|false|null)$)[a-zA-Z/_][\w./:@+-]*", re.ASCII)
_BARE_ID = re.compile(r"[\w./:@+-]+", re.ASCII)
_SECONDS = re.compile(r"(\d{9,10})(\.\d+)?", re.ASCII)
_NEXT_LINE = "\n  | "


class Readable(NamedTuple):
    """A level of the module ``logging``, and a text that begins no line of its own but behind a bar."""

    level: int
    text: str


class _Number(str):
    """A number as it was written: no digit of it is lost."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys, also those that come twice."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_Object)


def readable(line: str) -> Readable:
    """Never raises; nothing that the line says is lost."""
    if line.startswith("{"):
        try:
            parsed = _DECODER.decode(line)
            return _shown(parsed) or Readable(logging.INFO, line)
        except (ValueError, RecursionError):
            pass  # not JSON, or nested as no log is
    return Readable(logging.INFO, line)


def _shown(said: _Object) -> Readable | None:
    """None for JSON that is no log line, as a process may print it."""
    level, message = _first(said, "level"), _first(said, "msg")
    if level is None or message is None:
        return None
    request = _first(said, "request_id")
    rest = _without(said, {"level", "msg", "request_id"} if request else {"level", "msg"})
    if level.lower() not in _TOLD_BY_AIRFLOW:
        rest.insert(0, ("level", level))
    rest.sort(key=lambda pair: _LAST.index(pair[0]) + 1 if pair[0] in _LAST else 0)
    prefix = f"[request {_identifier(request)}] " if request else ""
    return Readable(_LEVELS.get(level.lower(), logging.INFO), prefix + _lined(message) + _fields(rest))


def _first(said: _Object, key: str) -> str | None:
    found = next((value for name, value in said if name == key), None)
    return found if isinstance(found, str) and not isinstance(found, _Number) else None


def _without(said: _Object, keys: set[str]) -> list[tuple[str, Any]]:
    """What isn't shown in a place of its own; of a key that comes twice, the second."""
    rest = []
    for key, value in said:
        if key in keys:
            keys.remove(key)
        else:
            rest.append((key, value))
    return rest


def _fields(pairs: list[tuple[str, Any]]) -> str:
    """Behind the message those of one line, below it those of several: stack traces."""
    long = [(key, value) for key, value in pairs if _has_lines(value)]
    short = [f"{_key(key)}={_value(key, value)}" for key, value in pairs if not _has_lines(value)]
    below = [f"{_NEXT_LINE}{_key(key)}:{_NEXT_LINE}{_lined(value)}" for key, value in long]
    return ("  " + " ".join(short) if short else "") + "".join(below)


def _has_lines(value: object) -> bool:
    return isinstance(value, str) and "\n" in value


def _lined(text: str) -> str:
    """Lines after the first stand behind a bar, so that none can pass for a line of the log."""
    return _NEXT_LINE.join(_printable(line) for line in text.split("\n"))


def _identifier(text: str) -> str:
    return text if _BARE_ID.fullmatch(text) else _quoted(text)


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _quoted(text)


def _value(key: str, value: object) -> str:
    if key == "ts" and isinstance(value, _Number):
        return _time(value)
    if isinstance(value, str) and _BARE_VALUE.fullmatch(value):
        return str(value)
    return _json(value)


def _time(number: str) -> str:
    found = _SECONDS.fullmatch(number)
    if not found:
        return number
    return f"{datetime.fromtimestamp(int(found[1]), UTC):%Y-%m-%dT%H:%M:%S}{found[2] or ''}Z"


def _json(value: object) -> str:
    match value:
        case _Number():
            return str(value)
        case str():
            return _quoted(value)
        case _Object():
            return "{" + ", ".join(f"{_quoted(key)}: {_json(item)}" for key, item in value) + "}"
        case list():
            return "[" + ", ".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value)  # true, false and null


def _quoted(text: str) -> str:
    return _printable(json.dumps(text, ensure_ascii=False))


def _printable(text: str) -> str:
    """What isn't printable escaped: a terminal's commands, what turns the direction of writing, half characters."""
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character == "\t" or unicodedata.category(character) == "Zs"
