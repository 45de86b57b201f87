"""What can't become a run: kept with the reason, until somebody sends it on its way again, or drops it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from nats.js.errors import APIError, NoStreamResponseError

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.errors import JetStreamError, translated
from kai_airflow.messaging.guarded import publish_after
from kai_airflow.messaging.reading import messages, stored
from kai_airflow.messaging.streams import created, stream_names
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js.api import RawStreamMsg

    from kai_airflow.messaging.connection import Connection

REASON = "Kai-Airflow-Reason"
ATTEMPTS = "Kai-Airflow-Attempts"
STREAM = "Kai-Airflow-Stream"
CREATED = "Kai-Airflow-Stream-Created"
SEQUENCE = "Kai-Airflow-Sequence"
SUBJECT = "Kai-Airflow-Subject"

_SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")  # a header's value is ASCII
DROPPED, REDRIVEN = b"dropped", b"redriven"  # what became of it

_NUMBER = re.compile(r"[0-9]{1,18}")
_NO_MESSAGE = 10057  # what JetStream says to who deletes what is gone, with status 500
LONGEST_REASON = 500  # characters, in a header that every reader shows


class NoDeadLetterError(KaiAirflowError):
    """A dead letter that isn't there."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no dead letter {number}. Remedy: kai-airflow deadletters list")


class HomelessError(JetStreamError):
    """A dead letter whose stream is gone, or doesn't take in its subject any more."""

    def __init__(self, letter: DeadLetter) -> None:
        super().__init__(
            f"dead letter {letter.number} stays one: no stream {letter.stream} takes in {letter.subject}. "
            f"Remedy: have a bridge serve that version, or take the message with `kai-airflow deadletters show "
            f"{letter.number} --raw`."
        )


@dataclass(frozen=True)
class DeadLetter:
    """A message that became no run: where it was, when it died, why, and how often it had been delivered."""

    number: int
    died: datetime
    stream: str
    created: str
    sequence: int
    subject: str
    attempts: int
    reason: str
    data: bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the data."""
        said = {**asdict(self), "died": self.died.isoformat(), "bytes": len(self.data)}
        del said["data"]
        return said


async def bury(
    connection: Connection, stream: names.Stream, created: str, sequence: int, *, reason: str, attempts: int
) -> None:
    """Copy a message of a stream to the dead letters; done twice, it is there once. One that has expired isn't kept."""
    raw = await stored(connection, stream, sequence)
    if raw is None:
        return
    with translated(f"keep message {sequence} of {stream} as a dead letter"):
        headers = {
            REASON: _line(reason)[:LONGEST_REASON],
            ATTEMPTS: str(attempts + _number(raw, ATTEMPTS)),
            STREAM: stream,
            CREATED: created,
            SEQUENCE: str(sequence),
            SUBJECT: quote(raw.subject or "", safe=_SAFE),
        }
        subject = names.dead_letter_subject(stream, created, sequence)
        await publish_after(connection, names.DEAD_LETTERS, subject, raw.data or b"", 0, headers)


async def listed(connection: Connection, stream: str | None = None) -> AsyncIterator[DeadLetter]:
    """All dead letters, or those of one stream, the oldest first."""
    subject = f"{names.DEAD_LETTERS}.{stream or '*'}.>"
    with translated("read the dead letters"):
        async for raw in messages(connection, names.DEAD_LETTERS, subject):
            yield _dead_letter(raw)


async def found(connection: Connection, number: int) -> DeadLetter:
    """One of them. Raises NoDeadLetterError."""
    raw = await stored(connection, names.DEAD_LETTERS, number)
    if raw is None:
        raise NoDeadLetterError(number)
    return _dead_letter(raw)


async def redrive(connection: Connection, letter: DeadLetter) -> int:
    """Publish it where it was, and drop it; gives its new sequence. Cut off in between, done again it is there once.

    :raises MessagingError: its stream is gone, or refuses it; it stays a dead letter
    """
    headers = {"Nats-Msg-Id": f"{letter.stream}.{letter.created}.{letter.sequence}", ATTEMPTS: str(letter.attempts)}
    with translated(f"publish dead letter {letter.number} on {letter.subject}"):
        try:
            ack = await connection.js.publish(letter.subject, letter.data, stream=letter.stream, headers=headers)
        except NoStreamResponseError as error:
            raise HomelessError(letter) from error
    await _settle(connection, letter, REDRIVEN)
    return int(ack.seq)


async def drop(connection: Connection, letter: DeadLetter) -> None:
    """Delete it for good; one that is gone already is fine. Raises MessagingError."""
    await _settle(connection, letter, DROPPED)


async def _settle(connection: Connection, letter: DeadLetter, how: bytes) -> None:
    """Write down what became of it, for an audit of the messages where it came from, and delete it."""
    with translated(f"drop dead letter {letter.number}"):
        stream = names.Stream(letter.stream)
        if await _is_there(connection, stream, letter.created):
            await connection.js.publish(names.settled_subject(stream, letter.sequence), how, stream=stream)
        try:
            await connection.js.delete_msg(names.DEAD_LETTERS, letter.number)
        except APIError as error:
            if error.err_code != _NO_MESSAGE:
                raise


async def _is_there(connection: Connection, stream: names.Stream, moment: str) -> bool:
    """Whether a stream is still the one that was made at that moment, and a bridge's."""
    return stream in await stream_names(connection, names.settled_subject(stream, "*")) and (
        await created(connection.js, stream) == moment
    )


def _dead_letter(raw: RawStreamMsg) -> DeadLetter:
    headers = raw.headers or {}
    return DeadLetter(
        number=raw.seq or 0,
        died=raw.time or datetime.fromtimestamp(0, UTC),
        stream=headers.get(STREAM, ""),
        created=headers.get(CREATED, ""),
        sequence=_number(raw, SEQUENCE),
        subject=unquote(headers.get(SUBJECT, "")),
        attempts=_number(raw, ATTEMPTS),
        reason=headers.get(REASON, ""),
        data=raw.data or b"",
    )


def _number(raw: RawStreamMsg, header: str) -> int:
    """0 for what is none: anybody may have written it."""
    text = (raw.headers or {}).get(header, "")
    return int(text) if _NUMBER.fullmatch(text) else 0


def _line(text: str) -> str:
    """A header is one line of ASCII."""
    return ascii(" ".join(text.split()))[1:-1]
