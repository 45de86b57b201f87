"""A payload that a command is given: JSON that a message can carry."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kai_airflow.errors import KaiAirflowError


def parsed(text: str | bytes, argument: str) -> Any:
    """The payload that an argument holds.

    :raises KaiAirflowError: it isn't JSON, or no message can carry it; with the place
    """
    from kai_airflow.messaging.codec import pack
    from kai_airflow.messaging.errors import PayloadError

    try:
        payload = json.loads(text)
        pack(payload)  # tells what a message can't carry, and where it is
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise KaiAirflowError(
            f"{argument}: not JSON: {where}: {error.msg}. Remedy: write JSON, as '{{\"a\": 1}}'."
        ) from error
    except RecursionError as error:
        raise KaiAirflowError(f"{argument}: nested too deeply for a message") from error
    except (ValueError, PayloadError) as error:
        raise KaiAirflowError(f"{argument}: {error}") from error
    return payload


def read(file: str, argument: str) -> bytes:
    """A file; ``-`` is standard input. Raises KaiAirflowError."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise KaiAirflowError(f"{argument}: {file}: {error.strerror}. Remedy: name a file of JSON.") from error
