"""Kubernetes quantities: ``100m``, ``1.5``, ``200M``, ``1Gi``, ``1e3``.

KAI takes fewer forms (section 1 of the KAI reference); all of those are among them.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

_FORM = re.compile(r"\+?([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@functools.lru_cache(maxsize=1024)
def amount(text: str) -> Fraction | None:
    """The exact value of a quantity that isn't negative (cores or bytes); None where the text isn't one."""
    found = _FORM.fullmatch(text)
    return Fraction(found[1].rstrip(".")) * _factor(found[2] or "") if found else None


def _factor(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return Fraction(1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix]
    return Fraction(10) ** int(suffix[1:] or 0)
