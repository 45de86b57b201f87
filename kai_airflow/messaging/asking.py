"""Sending a request into live processes, once, as their trigger would."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.following import Reader

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan.names import Stream, Subject

# The server refuses a second message of one id for a while, and gives the first one's sequence: of two that publish at
# the same time, one is too late. What is older is looked for.
_KEY = "Nats-Msg-Id"


async def last_of(connection: Connection, stream: Stream) -> int:
    """The sequence of a stream's last message: what is sent from now on stands behind it. Raises MessagingError."""
    with translated(f"look at stream {stream}"):
        return int((await connection.js.stream_info(stream)).state.last_seq)


async def sent(connection: Connection, stream: Stream, subject: Subject, key: str, after: int) -> int | None:
    """The message that was published under this key behind this sequence; None where there is none."""
    async with aclosing(Reader(connection, stream, [subject], after=after, bare=True).kept()) as kept:
        async for one in kept:
            if one.headers.get(_KEY) == key:
                return one.sequence
    return None


async def send(connection: Connection, stream: Stream, subject: Subject, data: bytes, key: str) -> int:
    """Publish under this key; gives the sequence. Raises MessagingError."""
    with translated(f"publish on {subject}"):
        return int((await connection.js.publish(subject, data, stream=stream, headers={_KEY: key})).seq)
