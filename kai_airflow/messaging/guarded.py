"""Publishing what must be there once: only as the next message of its subject, behind the last one that we know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.errors import APIError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.messaging.connection import Connection

EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
_WRONG_LAST_SEQUENCE = 10071


async def publish_after(
    connection: Connection, stream: str, subject: str, data: bytes, last: int, headers: Mapping[str, str] | None = None
) -> int | None:
    """Publish behind the message with the sequence ``last``, 0 for the first; gives the sequence.

    None: somebody else has published there since, or the last one has expired. Raises the client's errors.
    """
    guarded = {EXPECTED_LAST: str(last), **(headers or {})}
    try:
        return int((await connection.js.publish(subject, data, stream=stream, headers=guarded)).seq)
    except APIError as error:
        if error.err_code != _WRONG_LAST_SEQUENCE:
            raise
        return None


async def last_sequence(connection: Connection, stream: str, subject: str) -> int:
    """Of the last message of a subject, 0 where it has none. Raises the client's errors."""
    try:
        return (await connection.js.get_last_msg(stream, subject)).seq or 0
    except NotFoundError:
        return 0
