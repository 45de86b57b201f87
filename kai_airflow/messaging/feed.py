"""Feeding a try: what its upstream published is copied onto its one input subject, each message once."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import ExpiredError, FedTwiceError, MessagingError, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.tries import Source, Try

# What the SDKs ask for when they bind (KAI reference, section 4): the Go client refuses a consumer that differs.
ACK_WAIT_SECONDS = 22 * 60 * 60

# A consumer that nobody was bound to for so long is removed by the server.
IDLE_SECONDS = 24 * 60 * 60

EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
SOURCE = "Kai-Airflow-Source"
_WRONG_LAST_SEQUENCE = 10071

# Room for the headers that a copy carries and its original didn't, in bytes.
_HEADERS_ROOM = 256


@asynccontextmanager
async def opened_input(connection: Connection, of: Try) -> AsyncIterator[None]:
    """The consumer that the process binds to, while the block lasts. Enter before feeding: it delivers what is new."""
    await open_input(connection, of)
    try:
        yield
    finally:
        # One that stays because NATS is gone, or this process, goes by itself after IDLE_SECONDS.
        with suppress(MessagingError):
            await close_input(connection, of)


async def open_input(connection: Connection, of: Try) -> None:
    """Make the consumer that the process binds to, with one message at a time (``max_ack_pending``).

    The Python SDK shares state between messages in hand.
    """
    config = ConsumerConfig(
        durable_name=of.consumer,
        deliver_group=of.consumer,
        deliver_subject=f"_INBOX.{of.consumer}",
        deliver_policy=DeliverPolicy.NEW,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        max_ack_pending=1,
        filter_subject=of.input,
        inactive_threshold=IDLE_SECONDS,
    )
    with translated(f"make consumer {of.consumer}"):
        await connection.js.add_consumer(of.stream, config)


async def close_input(connection: Connection, of: Try) -> None:
    """Remove the consumer of a try that is over; its messages stay."""
    with translated(f"remove consumer {of.consumer}"), suppress(NotFoundError):
        await connection.js.delete_consumer(of.stream, of.consumer)


@dataclass(frozen=True)
class Fed:
    """What stands on a try's input: how many messages, and the last one's sequence in the run stream."""

    count: int
    last: int


async def feed(connection: Connection, of: Try, sources: Sequence[Source]) -> Fed:
    """Copy the sources, in their order, onto the try's input; what already stands there isn't fed again.

    :raises ExpiredError: the run stream no longer holds a source
    :raises BadMessageError: a source can't be decoded; a process of the Go SDK would crash on it
    :raises FedTwiceError: somebody else is feeding this try
    """
    with translated(f"feed {of.process!r}"):
        last, done = await _standing(connection, of)
        for source in sources:
            if source.sequence > done:
                data = _fitting(connection, await _read(connection, of, source))
                last = await _copy(connection, of, source, data, last)
    return Fed(len(sources), last)


async def _standing(connection: Connection, of: Try) -> tuple[int, int]:
    """The input's last sequence and the source that it is a copy of; zeros where nothing has been fed."""
    try:
        message = await connection.js.get_last_msg(of.stream, of.input)
    except NotFoundError:
        return 0, 0
    return message.seq or 0, int((message.headers or {})[SOURCE])


async def _read(connection: Connection, of: Try, source: Source) -> bytes:
    try:
        message = await connection.js.get_msg(of.stream, source.sequence)
    except NotFoundError as error:
        raise ExpiredError(of.stream, source.sequence) from error
    # A stream that was deleted and made anew counts from 1 again: the sequence is there, the message isn't.
    if message.subject != source.subject:
        raise ExpiredError(of.stream, source.sequence)
    return message.data or b""


def _fitting(connection: Connection, data: bytes) -> bytes:
    """The message as it can be fed: whole, readable, and with room left for the headers of a copy."""
    message = codec.decode(data)
    room = connection.max_payload - _HEADERS_ROOM
    return data if len(data) <= room else codec.encode(message, room)


async def _copy(connection: Connection, of: Try, source: Source, data: bytes, last: int) -> int:
    headers = {EXPECTED_LAST: str(last), SOURCE: str(source.sequence)}
    try:
        ack = await connection.js.publish(of.input, data, stream=of.stream, headers=headers)
    except APIError as error:
        if error.err_code == _WRONG_LAST_SEQUENCE:
            raise FedTwiceError(of.input) from error
        raise
    return ack.seq


async def publish_first(connection: Connection, of: Try, message: codec.Message) -> int:
    """Publish the one output of a try that has none yet, and give its sequence; done twice, it is still one.

    :raises MessageTooLargeError: more than the server takes, even gzipped
    """
    data = codec.encode(message, connection.max_payload - _HEADERS_ROOM)
    with translated(f"publish for {of.process!r}"):
        try:
            ack = await connection.js.publish(of.output, data, stream=of.stream, headers={EXPECTED_LAST: "0"})
        except APIError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:
                raise
            return (await connection.js.get_last_msg(of.stream, of.output)).seq or 0
    return ack.seq
