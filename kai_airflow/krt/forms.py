"""How texts of a KRT are written: names, versions, labels, images, as the KAI reference and Kubernetes have them.

Patterns are text, so that the rules and the JSON Schema are made of the same; each stands for a whole text.
"""

from __future__ import annotations

import re
from functools import cache

LONGEST_NAME = 20
LONGEST_PRODUCT = 40
LONGEST_HOST = 253
LONGEST_LABEL = 63
LONGEST_TAG = 100  # in Airflow's database
LONGEST_CHANNEL = 250  # KAI's consumers are named after it, in 255 characters

NAME = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
VERSION = r"v[0-9]+\.[0-9]+\.[0-9]+"
CHANNEL = r"[^\s.*>]+(\.[^\s.*>]+)*"
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
HOST = rf"{NAME}(\.{NAME})*"
"""A DNS subdomain, as the names of Kubernetes objects are."""

_TAG = r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = r"([A-Za-z0-9]|[A-Za-z0-9][-A-Za-z0-9]*[A-Za-z0-9])(\.([A-Za-z0-9]|[A-Za-z0-9][-A-Za-z0-9]*[A-Za-z0-9]))*"
_IPV6 = r"\[[0-9a-fA-F:]+\]"
IMAGE = rf"(({_REGISTRY}|{_IPV6})(:[0-9]+)?/)?{_PART}(/{_PART})*(:{_TAG})?(@{_DIGEST})?"
"""A reference to an image: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``, the grammar of the OCI distribution's references."""
LONGEST_IMAGE = 4096


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def fits(pattern: str, text: str) -> bool:
    """Whether a whole text is written so."""
    return _compiled(pattern).fullmatch(text) is not None


def is_label_key(key: str) -> bool:
    """``[PREFIX/]NAME``, as Kubernetes has the keys of labels."""
    prefix, slash, label = key.rpartition("/")
    return fits(LABEL, label) and (not slash or (len(prefix) <= LONGEST_HOST and fits(HOST, prefix)))


def is_host(text: str) -> bool:
    """A DNS subdomain of at most 253 characters."""
    return len(text) <= LONGEST_HOST and fits(HOST, text)


def is_image(text: str) -> bool:
    """A reference that a container runtime can take apart."""
    return len(text) <= LONGEST_IMAGE and fits(IMAGE, text)
