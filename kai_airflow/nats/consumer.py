"""A durable consumer of a stream, and the messages that it delivers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from kai_airflow.messaging.connection import Cancels
from kai_airflow.messaging.errors import JetStreamError, translated

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from kai_airflow.messaging.connection import Connection

ACK_WAIT = 300.0
_ASKED_FOR = 30.0  # seconds after which the server is asked anew
_PAUSE = 1.0  # seconds between two questions at least, where JetStream isn't there and the server says so at once


@dataclass(frozen=True)
class Source:
    """Where messages come from.

    :param stream: the stream
    :param durable: its consumer, made where it is missing: with the oldest message first
    :param subject: only messages of this subject, wildcards allowed; all by default
    :param ack_wait: for a consumer that is made here: seconds after which a message that wasn't acked comes again
    """

    stream: str
    durable: str
    subject: str = ""
    ack_wait: float = ACK_WAIT


async def opened(connection: Connection, source: Source) -> JetStreamContext.PullSubscription:
    """Make the consumer exist, and bind to it.

    :raises JetStreamError: no such stream, or a consumer that delivers otherwise
    :raises NatsUnavailableError: no answer
    """
    with translated(f"open consumer {source.durable} of stream {source.stream}"):
        _check(await _consumer(connection, source), source)
        return await connection.js.pull_subscribe_bind(source.durable, source.stream)


async def received(connection: Connection, subscription: JetStreamContext.PullSubscription) -> Msg:
    """The next message, however long it takes.

    :raises JetStreamError: the consumer is gone
    :raises NatsUnavailableError: the connection is closed
    """
    cancels = Cancels()
    while True:
        asked = time.monotonic()
        message = await received_within(connection, subscription, _ASKED_FOR)
        cancels.heed()
        if message:
            return message
        await asyncio.sleep(asked + _PAUSE - time.monotonic())


async def received_within(
    connection: Connection, subscription: JetStreamContext.PullSubscription, seconds: float
) -> Msg | None:
    """The next message, or None where there is none for so long."""
    with translated("fetch a message"):
        try:
            (message,) = await connection.asked(partial(subscription.fetch, 1, seconds))
        except nats.errors.TimeoutError:
            return None
    return message


async def acked(connection: Connection, reply: str, seconds: float = 5.0) -> None:
    """Ack the message with this reply subject, from whatever connection; JetStream knows of it then.

    :raises NatsUnavailableError: no answer, so that it may come again
    """
    with translated("ack a message"):
        await connection.nc.request(reply, b"+ACK", timeout=seconds)


async def _consumer(connection: Connection, source: Source) -> ConsumerInfo:
    try:
        found: ConsumerInfo = await connection.js.consumer_info(source.stream, source.durable)
    except NotFoundError:
        config = ConsumerConfig(
            durable_name=source.durable,
            filter_subject=source.subject or None,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=source.ack_wait,
        )
        return await connection.js.add_consumer(source.stream, config)
    return found


def _check(info: ConsumerInfo, source: Source) -> None:
    config = info.config
    subjects = config.filter_subjects or [config.filter_subject or ""]
    if config.deliver_subject:
        wrong = "it pushes its messages"
    elif config.ack_policy != AckPolicy.EXPLICIT:
        wrong = "its messages aren't acked one by one"
    elif source.subject and subjects != [source.subject]:
        wrong = f"it delivers {', '.join(subjects) or 'all subjects'}, not {source.subject}"
    else:
        return
    raise JetStreamError(
        f"NATS: consumer {source.durable} of stream {source.stream}: {wrong}. Remedy: name another durable, which is "
        "made then, or remove this one."
    )
