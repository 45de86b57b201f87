"""What a try has published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import MessageType
from kai_airflow.messaging.errors import BadMessageError, translated
from kai_airflow.messaging.reading import SOURCE, identity, messages

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.tries import Try

# An error's text goes into a task's log: whatever a process sends, not more than this of it.
LONGEST_TEXT = 4096


@dataclass(frozen=True)
class Complaint:
    """One message of type ERROR, or one that nobody can read, fit for a log."""

    request_id: str
    text: str


@dataclass(frozen=True)
class Output:
    """One message that a process published, or that was ``passed_on`` for one that speaks no NATS.

    What can't be read belongs to no request and is never fed on.
    """

    sequence: int
    channel: str
    request_id: str
    complaint: Complaint | None = None
    readable: bool = True
    passed_on: bool = False


async def published(connection: Connection, of: Try, after: int = 0) -> list[Output]:
    """What a try has published behind this sequence, in its order."""
    found = []
    with translated(f"read what {of.process!r} published"):
        async for message in messages(connection, of.stream, of.outputs, after):
            output = output_of(message.seq or 0, of.channel(message.subject or ""), message.data or b"")
            found.append(replace(output, passed_on=SOURCE in (message.headers or {})))
    return found


def output_of(sequence: int, channel: str, data: bytes) -> Output:
    """A message that was published on this channel, as its bytes say."""
    try:
        message = codec.decode(data)
    except BadMessageError as error:
        complaint = Complaint("", f"published a message that can't be read: {error}")
        return Output(sequence, channel, "", complaint, readable=False)
    request_id = identity(message.request_id)
    if message.type is not MessageType.ERROR:
        return Output(sequence, channel, request_id)
    return Output(sequence, channel, request_id, Complaint(_shown(request_id), _shown(message.error)))


def _shown(text: str) -> str:
    """On one line, so that no message can imitate the log's own lines."""
    cut = (
        text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more characters)"
    )
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
