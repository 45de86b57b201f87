"""Places of a document: where something stands, what was read there, and the issues that point at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from kai_airflow.krt.report import Issue
from kai_airflow.krt.sensitive import hide_userinfo
from kai_airflow.krt.wording import printable

MAX_ISSUES = 1000
"""How many errors, and how many warnings, a report holds: a hostile file could make hundreds of thousands."""

T = TypeVar("T")
_LONGEST_STEP = 80


def step_to(key: str) -> str:
    """A key as the end of a location; one that fills the file is clipped, since every place below repeats it."""
    return f".{key[:_LONGEST_STEP]}"


class Place(NamedTuple):
    """A location as KAI names it, and its line and column, which count from 1."""

    location: str
    line: int | None
    column: int | None

    def issue(self, code: str, message: str, remedy: str, location: str | None = None) -> Issue:
        """An issue here, or here under another of KAI's names."""
        return Issue(code, printable(hide_userinfo(location or self.location)), self.line, self.column, message, remedy)


class Field(NamedTuple, Generic[T]):
    """What was read at a place. ``value`` is None where nothing stands, and where a ``wrong`` thing was reported."""

    place: Place
    value: T | None = None
    wrong: bool = False

    @property
    def absent(self) -> bool:
        """Whether nothing stands here at all."""
        return self.value is None and not self.wrong


@dataclass(slots=True)
class Findings:
    """The issues of one document as they are found, of a flood the first MAX_ISSUES, and how many ``fields`` it has."""

    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    fields: int = 0
    _unknown: int = 0

    @property
    def full(self) -> bool:
        """Whether no more errors fit."""
        return len(self.errors) >= MAX_ISSUES

    def worth_a_look(self) -> bool:
        """Whether another unknown key is compared with the known ones, which costs more than reading it."""
        self._unknown += 1
        return self._unknown <= MAX_ISSUES

    def error(self, issue: Issue) -> None:
        """Something that makes the document invalid."""
        if not self.full:
            self.errors.append(issue)

    def warning(self, issue: Issue) -> bool:
        """Something that is probably not meant so; whether there was room for it."""
        room = len(self.warnings) < MAX_ISSUES
        if room:
            self.warnings.append(issue)
        return room
