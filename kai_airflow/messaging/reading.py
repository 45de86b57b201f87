"""Reading a run stream message by message: the stream is the truth, whatever passes by."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from kai_airflow.messaging.errors import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js.api import RawStreamMsg

    from kai_airflow.messaging.connection import Connection

# The header of a copy: the sequence of the message that it is a copy of.
SOURCE = "Kai-Airflow-Source"

# A request's id may be as long as a message: what is kept of it in memory, and quoted in a log.
LONGEST_ID = 200


async def messages(connection: Connection, stream: str, subject: str, after: int = 0) -> AsyncIterator[RawStreamMsg]:
    """The messages on a subject (it may be a filter) behind the sequence ``after``, until there is no more."""
    while True:
        try:
            message = await connection.js.get_msg(stream, after + 1, subject=subject, next=True)
        except NotFoundError:
            return
        yield message
        after = message.seq or 0


async def stored(connection: Connection, stream: str, sequence: int) -> RawStreamMsg | None:
    """A message of a stream; None where it isn't there (any more). Raises MessagingError."""
    with translated(f"read message {sequence} of stream {stream}"):
        try:
            return await connection.js.get_msg(stream, sequence)
        except NotFoundError:
            return None


def microseconds(moment: datetime | None) -> int:
    """Since 1970, exactly; 0 for none."""
    return 0 if moment is None else (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def identity(request_id: str) -> str:
    """A request's id, to tell it from others: itself, or its beginning and its hash where it is very long."""
    if len(request_id) <= LONGEST_ID:
        return request_id
    return f"{request_id[:LONGEST_ID]}...{hashlib.sha256(request_id.encode(errors='surrogatepass')).hexdigest()}"
