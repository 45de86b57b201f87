"""Feeding a try: what its upstream published is copied onto its one input subject, each message once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import ExpiredError, FedTwiceError, translated
from kai_airflow.messaging.guarded import last_sequence, publish_after
from kai_airflow.messaging.plain import PlainRequests
from kai_airflow.messaging.reading import SOURCE, identity, messages, stored
from kai_airflow.messaging.streams import created
from kai_airflow.plan import names
from kai_airflow.plan.names import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.js.api import RawStreamMsg

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.origin import Origin
    from kai_airflow.messaging.tries import Source, Try

# What the SDKs ask for when they bind (KAI reference, section 4): the Go client refuses a consumer that differs.
ACK_WAIT_SECONDS = 22 * 60 * 60

# A consumer that nobody was bound to for so long is removed by the server.
IDLE_SECONDS = 24 * 60 * 60

# Room for the headers that a copy carries and its original didn't, in bytes.
_HEADERS_ROOM = 256


async def open_input(connection: Connection, of: Try) -> None:
    """Make the consumer that the process binds to, before feeding: it delivers what is new.

    One message at a time (``max_ack_pending``): the Python SDK shares state between messages in hand.
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
class Input:
    """One message on a try's input: its sequence, the sequence that it is a copy of, and its request."""

    sequence: int
    source: int
    request_id: str


@dataclass
class Share:
    """What one try was fed: all of a task's requests, or its part of them where several pods share them."""

    of: Try
    inputs: list[Input] = field(default_factory=list)
    requests: PlainRequests = field(default_factory=PlainRequests)

    @property
    def count(self) -> int:
        """How many messages."""
        return len(self.inputs)

    @property
    def last(self) -> int:
        """The last one's sequence in the run stream, 0 where there is none."""
        return self.inputs[-1].sequence if self.inputs else 0

    def add(self, sequence: int, source: int, message: codec.Message) -> None:
        """Take in what stands on the input behind the rest."""
        self.inputs.append(Input(sequence, source, identity(message.request_id)))
        self.requests.add(message)


async def feed(connection: Connection, tries: Sequence[Try], sources: Sequence[Source]) -> list[Share]:
    """Copy the sources, in their order, onto the tries' inputs; what already stands there isn't fed again.

    The messages of one request stay together; the requests go around.

    :returns: a share for each try, an empty one where there were fewer requests than tries
    :raises ExpiredError: the run stream no longer holds a source
    :raises BadMessageError: a source can't be decoded; a process of the Go SDK would crash on it
    :raises FedTwiceError: somebody else is feeding one of these tries
    """
    shares = [await fed(connection, of) for of in tries]
    standing = {one.source for share in shares for one in share.inputs}
    of_request = {one.request_id: share for share in shares for one in share.inputs}
    with translated(f"feed {tries[0].process!r}"):
        for source in sources:
            if source.sequence in standing:
                continue
            data = await _read(connection, tries[0].stream, source)
            message = codec.decode(data)
            share = of_request.setdefault(identity(message.request_id), shares[len(of_request) % len(shares)])
            sequence = await _copy(connection, share, source, _fitting(connection, data, message))
            share.add(sequence, source.sequence, message)
    return shares


async def fed(connection: Connection, of: Try) -> Share:
    """What stands on a try's input, as far as it hasn't expired."""
    share = Share(of)
    with translated(f"read what {of.process!r} was fed"):
        async for raw in messages(connection, of.stream, of.input):
            share.add(raw.seq or 0, _source(raw), codec.decode(raw.data or b""))
    return share


def _source(copy: RawStreamMsg) -> int:
    return int((copy.headers or {})[SOURCE])


async def _read(connection: Connection, stream: str, source: Source) -> bytes:
    try:
        message = await connection.js.get_msg(stream, source.sequence)
    except NotFoundError as error:
        raise ExpiredError(stream, source.sequence) from error
    # A stream that was deleted and made anew counts from 1 again: the sequence is there, the message isn't.
    if message.subject != source.subject:
        raise ExpiredError(stream, source.sequence)
    return message.data or b""


def _fitting(connection: Connection, data: bytes, message: codec.Message) -> bytes:
    """The message as it can be fed: with room left for the headers of a copy."""
    room = connection.max_payload - _HEADERS_ROOM
    return data if len(data) <= room else codec.encode(message, room)


async def _copy(connection: Connection, share: Share, source: Source, data: bytes) -> int:
    return await _publish(connection, share.of.stream, share.of.input, data, share.last, source.sequence)


async def _publish(connection: Connection, stream: str, subject: str, data: bytes, last: int, source: int) -> int:
    """A copy of the message ``source``."""
    sequence = await publish_after(connection, stream, subject, data, last, {SOURCE: str(source)})
    if sequence is None:
        raise FedTwiceError(subject)
    return sequence


async def pass_on(connection: Connection, of: Try) -> None:
    """Publish what a try was fed as what it publishes, for a process that speaks no NATS; done again, it goes on.

    The messages are what they were but for ``from_node``, by which a receiver picks its handler.

    :raises FedTwiceError: somebody else passes on the same try's messages
    """
    with translated(f"pass on what {of.process!r} was fed"):
        passed = [raw async for raw in messages(connection, of.stream, of.output)]
        last = (passed[-1].seq or 0) if passed else 0
        done = _source(passed[-1]) if passed else 0
        async for raw in messages(connection, of.stream, of.input, after=done):
            message = replace(codec.decode(raw.data or b""), from_node=of.process)
            data = codec.encode(message, connection.max_payload - _HEADERS_ROOM)
            last = await _publish(connection, of.stream, of.output, data, last, raw.seq or 0)


async def hand_over(connection: Connection, of: Try, origin: Origin) -> dict[str, list[int]]:
    """Copy a trigger's messages from KAI's stream to the run's, as what a try of the trigger published.

    :returns: for each channel the sequences of the copies
    :raises ExpiredError: KAI's stream no longer holds a message, or is another one
    """
    if await created(connection.js, origin.stream) != origin.created:
        raise ExpiredError(origin.stream, origin.sequences[0])
    channels: dict[str, list[int]] = {}
    published = names.output_subject(Stream(origin.stream), origin.trigger)
    with translated(f"hand over messages of {of.process!r}"):
        for sequence in origin.sequences:
            raw = await stored(connection, origin.stream, sequence)
            if raw is None or not f"{raw.subject}.".startswith(f"{published}."):
                raise ExpiredError(origin.stream, sequence)
            channel = (raw.subject or "")[len(published) + 1 :]
            copies = channels.setdefault(channel, [])
            data = _fitting(connection, raw.data or b"", codec.decode(raw.data or b""))
            last = copies[-1] if copies else 0
            copies.append(await _publish(connection, of.stream, of.subject(channel), data, last, sequence))
    return channels


async def publish_first(connection: Connection, of: Try, message: codec.Message) -> int:
    """Publish the one output of a try that has none yet, and give its sequence; done twice, it is still one.

    :raises MessageTooLargeError: more than the server takes, even gzipped
    """
    data = codec.encode(message, connection.max_payload - _HEADERS_ROOM)
    with translated(f"publish for {of.process!r}"):
        sequence = await publish_after(connection, of.stream, of.output, data, 0)
        return sequence or await last_sequence(connection, of.stream, of.output)
