"""What looks like a secret: the keys whose values are never shown, and passwords inside other text (P5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"
_PRIVATE_KEY = "private key-----"

_WORDS = (
    r"passw(?:or)?d|passphrase|pwd|(?<![a-z])pass(?![a-z])|secret|token(?!i[sz])|credential|bearer"
    r"|(?:api|private|access|signing|encryption|ssh|shared|master|account)[-_. ]?key"
    r"|auth(?!ors?\b|ors?_)"
)
_KEY = re.compile(_WORDS, re.IGNORECASE)
# Repetitions are bounded, so that hostile text costs time in proportion to its length.
_ASSIGNED = re.compile(rf"(?:{_WORDS})[\w.-]{{0,64}}\\?[\"']?[ \t]{{0,8}}[:=]|{_PRIVATE_KEY}", re.IGNORECASE)
_VALUE = re.compile(rf"(?:{_ASSIGNED.pattern})\s{{0,8}}([^\s;,&]{{1,200}})", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_LINE_BREAKS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def is_sensitive(key: str) -> bool:
    """Whether the value of a key so named must not be shown."""
    return _KEY.search(key) is not None


def hide_userinfo(text: str) -> str:
    """Text with the passwords of its URLs masked: ``nats://user:***@host``; a user alone may be a token."""
    return _WORD.sub(_without_password, text) if "://" in text and "@" in text else text


def shown(text: str) -> str:
    """Text that is for anybody to see, without the secrets that it may hold."""
    return hide_userinfo(hide_assigned(text))


def hide_assigned(text: str) -> str:
    """Text with all that follows the first ``password:`` or ``token=`` in it masked; as many lines as before."""
    found = _ASSIGNED.search(text)
    return text if found is None else f"{text[: found.end()]} {blank(text[found.end() :])}"


def passwords(text: str) -> Iterator[str]:
    """The passwords inside a text: of its URLs, quoted and unquoted, what it assigns, the lines of a private key."""
    for word in _WORD.findall(text):
        userinfo, at, _ = word.partition("://")[2].rpartition("@")
        if at and (password := userinfo.partition(":")[2]):
            yield from dict.fromkeys([password, unquote(password)])
    yield from (found[1].strip("'\"") for found in _VALUE.finditer(text))
    if _PRIVATE_KEY in text.lower():
        yield from filter(None, map(str.strip, text.splitlines()))


def blank(text: str) -> str:
    """The mask, with the line breaks of the text that it stands for."""
    return MASK + "".join(_LINE_BREAKS.findall(text))


def _without_password(word: re.Match[str]) -> str:
    scheme, separator, rest = word[0].partition("://")
    userinfo, at, host = rest.rpartition("@")  # the last one: a password may hold an @
    user, colon, _ = userinfo.partition(":")
    if not at or (not colon and "/" in user):
        return word[0]
    return f"{scheme}{separator}{user if colon else ''}{colon}{MASK}{at}{host}"
