"""A KRT's text for people to look at, without its secrets (P5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kai_airflow.krt.draft import KEYS
from kai_airflow.krt.nodes import Mapping, Node, Scalar, Sequence
from kai_airflow.krt.reading import UnreadableError, documents
from kai_airflow.krt.sensitive import MASK, blank, hide_assigned, hide_userinfo, is_sensitive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SECRETS = ("workflows", "processes", "secrets")
"""The way to KAI's own ``secrets``: names of Secrets of Kubernetes, no secrets themselves."""
_IMAGE = ("workflows", "processes", "image")
"""The way to an image: ``registry/auth-service:v1`` reads like an assignment and is none."""
_BYTE_ORDER_MARK = "\ufeff"
_COMMENTS = re.compile(r"(?:(?<=\s)|^)#[^\n]*(?:\n[ \t]*#[^\n]*)*", re.MULTILINE)
_LINE = re.compile(
    r"(?P<indent>[ \t]*(?:- +)*)(?:(?P<key>[\w.-]{1,60}):(?=\s|$))?(?P<space>[ \t]*)(?P<value>[^\r\n\x85\u2028\u2029]*)"
)


def mask(text: str) -> str:
    """The text with ``***`` for every value of a sensitive-looking key, in whatever style; as many lines as before.

    Passwords in URLs go, what an alias under a sensitive key names, and what follows a ``password:`` inside other
    values and comments. Of text that is no YAML, only the keys of KRTs and the sensitive-looking ones are shown: what
    looks like another key may be a line of a secret.
    """
    if text.startswith(_BYTE_ORDER_MARK):
        return _BYTE_ORDER_MARK + mask(text[1:])
    try:
        roots = list(documents(text))
    except UnreadableError:
        return _LINE.sub(_key_alone, text)
    shown: dict[int, tuple[Scalar, bool]] = {}
    for root in roots:
        shown |= _scalars(root)
    return "".join(_pieces(text, sorted(shown.values(), key=lambda found: found[0].start)))


def _key_alone(line: re.Match[str]) -> str:
    key = line["key"]
    if key is not None and (key in KEYS or is_sensitive(key)):
        return f"{line['indent']}{key}:{line['space']}{MASK if line['value'] else ''}"
    return line["indent"] + (MASK if key is not None or line["value"] else "")


def _scalars(root: Node) -> dict[int, tuple[Scalar, bool]]:
    """Every scalar by where it stands, and whether it is a secret: an alias under a sensitive key makes it one."""
    found: dict[int, tuple[Scalar, bool]] = {}
    seen: set[tuple[int, bool]] = set()
    pending: list[tuple[Node, bool, tuple[str, ...]]] = [(root, False, ())]
    while pending:
        node, secret, way = pending.pop()
        if (id(node), secret) in seen:
            continue
        seen.add((id(node), secret))
        if isinstance(node, Scalar):
            found[node.start] = (node, secret or found.get(node.start, (node, False))[1])
        else:
            pending.extend(_below(node, secret, way))
    return found


def _below(
    node: Sequence | Mapping, secret: bool, way: tuple[str, ...]
) -> Iterator[tuple[Node, bool, tuple[str, ...]]]:
    if isinstance(node, Sequence):
        yield from ((item, secret, way) for item in node.items)
        return
    by_name = _is_pair_with_sensitive_name(node)
    for key, value in node.entries:
        further = (*way, key.text)[:4] if isinstance(key, Scalar) else ("",)
        if further == _IMAGE and isinstance(value, Scalar) and not secret:
            continue
        names_secrets = further == _SECRETS and isinstance(value, Sequence)
        yield key, secret, ()
        yield value, secret or by_name or (_names_secret(key) and not names_secrets), further


def _names_secret(key: Node) -> bool:
    """Whether a key looks sensitive; one that isn't text does where any part of it does."""
    return any(is_sensitive(scalar.text) for scalar, _ in _scalars(key).values())


def _is_pair_with_sensitive_name(node: Mapping) -> bool:
    """``{name: DB_PASSWORD, value: ...}``, as environments are written in Kubernetes."""
    pairs = {key.text: value for key, value in node.entries if isinstance(key, Scalar)}
    names = [pairs.get("name"), pairs.get("key")]
    return "value" in pairs and any(isinstance(name, Scalar) and is_sensitive(name.text) for name in names)


def _pieces(text: str, scalars: Iterable[tuple[Scalar, bool]]) -> Iterator[str]:
    """The text in its order: scalars shown or masked, and what lies between them, where comments stand."""
    at = 0
    for scalar, secret in scalars:
        yield _COMMENTS.sub(_comment, text[at : scalar.start])
        yield _shown(scalar, text[scalar.start : scalar.end], secret=secret)
        at = scalar.end
    yield _COMMENTS.sub(_comment, text[at:])


def _comment(comment: re.Match[str]) -> str:
    return hide_userinfo(hide_assigned(comment[0]))


def _shown(scalar: Scalar, raw: str, *, secret: bool) -> str:
    if not raw:
        return raw
    # An anchor, tag or unknown alias goes with its secret: it may be a password that lacks its quotes.
    if secret or ("\\" in raw and hide_userinfo(hide_assigned(scalar.text)) != scalar.text):
        return blank(raw)
    return hide_userinfo(hide_assigned(raw))
