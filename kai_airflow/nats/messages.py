"""A message as what Airflow stores: an event's payload, an XCom."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nats.aio.msg import Msg

_NUL = ("\x00", "\\u0000")  # what PostgreSQL has no place for


def as_json(message: Msg) -> dict[str, Any]:
    """Stream, sequence, subject, headers, and ``data``: a JSON object or array parsed, everything else as text.

    What is no UTF-8 text is in ``base64`` instead, and ``data`` is None.
    """
    found: dict[str, Any] = {
        "stream": message.metadata.stream,
        "sequence": message.metadata.sequence.stream,
        "subject": message.subject,
        "headers": dict(message.headers or {}),
        "data": _readable(message.data),
    }
    if found["data"] is None:
        found["base64"] = base64.b64encode(message.data).decode()
    return found


def as_bytes(payload: object) -> bytes:
    """A text as UTF-8, bytes as they are, everything else as JSON.

    :raises TypeError, ValueError: something that JSON has no form for
    """
    if isinstance(payload, bytes):
        return payload
    text = payload if isinstance(payload, str) else json.dumps(payload, allow_nan=False)
    return text.encode()


def _readable(data: bytes) -> Any:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if _NUL[0] in text:
        return None
    return _parsed(text) if text.lstrip()[:1] in ("{", "[") else text


def _parsed(text: str) -> Any:
    """What it says, or the text itself where Airflow's database couldn't hold that: NaN, half a surrogate, too deep."""
    try:
        value = json.loads(text)
        stored = json.dumps(value, allow_nan=False, ensure_ascii=False)
        stored.encode()
    except (ValueError, RecursionError):
        return text
    return text if _NUL[1] in stored else value
