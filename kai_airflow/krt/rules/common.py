"""What several rules share: required fields, names, one of a few words."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from kai_airflow.krt import forms
from kai_airflow.krt.sensitive import is_sensitive
from kai_airflow.krt.wording import choice, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kai_airflow.krt.place import Field, Place
    from kai_airflow.krt.report import Issue

T = TypeVar("T")

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


def missing(field: Field[T], remedy: str) -> Iterator[Issue]:
    """A required field that isn't there, or says nothing."""
    if field.absent or field.value in ("", (), 0):
        last = field.place.location.rpartition(".")[2]
        yield field.place.issue("missing-field", f"the required field {last} is missing or empty", remedy)


def name(field: Field[str], whose: str) -> Iterator[Issue]:
    """A name as KAI has them: required, lower case letters, digits and dashes, at most 20 characters."""
    yield from missing(field, f"Give the {whose} a name of lower case letters, digits and dashes.")
    if field.value:
        yield from bad_name(field, f"the {whose}'s name", forms.LONGEST_NAME)


def bad_name(field: Field[str], what: str, longest: int) -> Iterator[Issue]:
    """What is wrong with a name that is there."""
    text = field.value or ""
    if not forms.fits(forms.NAME, text):
        message = f"{what} {quoted(text)} is not made of lower case letters, digits and inner dashes"
        yield field.place.issue("invalid-name", message, _rename(text, longest))
    elif len(text) > longest:
        message = f"{what} {quoted(text)} has {len(text)} characters, of at most {longest}"
        yield field.place.issue("name-too-long", message, _rename(text, longest))


def label(key: str, value: Field[str] | None, place: Place, location: str | None = None) -> Iterator[Issue]:
    """A key, and where it is no annotation's a value, that Kubernetes takes as a label."""
    if not forms.is_label_key(key):
        message = f"{quoted(key)} is no key of a Kubernetes label"
        remedy = "Use [PREFIX/]NAME: up to 63 letters, digits, '-', '_', '.', and a domain name as the prefix."
        yield place.issue("invalid-label", message, remedy, location)
    if value and value.value and not forms.fits(forms.LABEL, value.value):
        shown = "the value" if is_sensitive(key) else quoted(value.value)
        message = f"{shown} of {quoted(key)} is no value of a Kubernetes label"
        remedy = "Use up to 63 letters, digits, '-', '_', '.', with a letter or digit at both ends."
        yield place.issue("invalid-label", message, remedy, location)


def one_of(field: Field[str], code: str, what: str, words: Collection[str]) -> Iterator[Issue]:
    """A value that is none of the few that it may be."""
    if field.value and field.value not in words:
        yield field.place.issue(code, f"{quoted(field.value)} is no {what}", choice(field.value, words))


def repeated(names: Iterable[Field[str]], what: str) -> Iterator[Issue]:
    """Each name that an earlier one already took."""
    first: dict[str, Field[str]] = {}
    for field in names:
        if field.value and first.setdefault(field.value, field) is not field:
            message = f"another {what}, on line {first[field.value].place.line}, is also named {quoted(field.value)}"
            yield field.place.issue("duplicate-name", message, f"Give each {what} a name of its own.")


def repetitions(fields: Iterable[Field[str]]) -> Iterator[Field[str]]:
    """The second and later ones of equal texts."""
    seen: Counter[str] = Counter()
    for field in fields:
        if field.value is not None:
            seen[field.value] += 1
            if seen[field.value] > 1:
                yield field


def _rename(text: str, longest: int) -> str:
    proposed = _NOT_IN_NAMES.sub("-", text[: 2 * longest].lower()).strip("-")[:longest].strip("-")
    return f"Rename it, for example to {proposed}." if proposed else "Rename it, for example to my-name."
