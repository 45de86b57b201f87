"""The consumers of a live stream; those of long-lived processes are made beforehand, as the SDKs want them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kai_airflow.messaging.errors import JetStreamError, NoStreamError, translated
from kai_airflow.messaging.feed import ACK_WAIT_SECONDS
from kai_airflow.messaging.streams import consumer_info
from kai_airflow.plan import names
from kai_airflow.plan.names import Subject

if TYPE_CHECKING:
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Process, Workflow

# Messages that each replica may have in hand. One alone costs a round trip for each (half the rate, measured); a
# thousand, the server's default, lie in the first pod's memory while those that an autoscaler adds have nothing to do,
# and are all handled again where it dies. It doesn't keep the Python SDK from mixing up two inputs, which are two
# consumers; messages of one it handles in turn, however many it has.
IN_HAND = 8

PAGE = 256  # consumers of an answer
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


async def listed(connection: Connection, stream: str) -> list[ConsumerInfo]:
    """All consumers of a stream.

    :raises NoStreamError: there is no such stream
    :raises MessagingError: NATS doesn't answer, or refuses
    """
    found: list[ConsumerInfo] = []
    with translated(f"list the consumers of {stream}"):
        try:
            while page := await connection.js.consumers_info(stream, offset=len(found)):
                found += page
                if len(page) < PAGE:
                    break
        except NotFoundError as error:
            raise NoStreamError(stream) from error
    return found


async def ensure_inputs(connection: Connection, stream: names.Stream, process: Process) -> None:
    """Make the consumers of a long-lived task or exit exist, and mend them where their filter has changed.

    One that is there keeps its delivery subject, on which a process may be listening.

    :raises JetStreamError: there is one that no SDK can bind to, or NATS refuses
    :raises NatsUnavailableError: no answer
    """
    for one in process.live.inputs if process.live else ():
        if one.consumer is None:
            continue
        info = await consumer_info(connection.js, stream, one.consumer)
        found = info.config if info else None
        if info and not (is_input(info) and info.config.deliver_policy == DeliverPolicy.NEW):
            raise JetStreamError(
                f"NATS: no process can bind to consumer {one.consumer} of stream {stream}: it isn't one that pushes "
                "what is new to a group of its own name, and NATS can't change that. Remedy: remove it "
                f"(nats consumer rm {stream} {one.consumer}); it is made again."
            )
        wanted = _wanted(found or _new(one.consumer), one.subject, IN_HAND * process.replicas)
        if wanted != found:
            with translated(f"make consumer {one.consumer}"):
                await connection.js.add_consumer(stream, wanted)


async def missing_inputs(connection: Connection, workflow: Workflow) -> list[names.Consumer]:
    """The consumers of a streaming workflow's processes that aren't there (yet). Raises MessagingError."""
    try:
        there = {info.name for info in await listed(connection, workflow.live_stream)}
    except NoStreamError:
        there = set()
    inputs = [one for process in workflow.processes if process.live for one in process.live.inputs]
    return [one.consumer for one in inputs if one.consumer and one.consumer not in there]


def is_input(info: ConsumerInfo) -> bool:
    """Whether a task or an exit binds to it: the SDKs' name and queue group (KAI reference, section 2)."""
    return bool(info.config.deliver_group) and info.config.deliver_group == info.name


def is_input_of(info: ConsumerInfo, process: str) -> bool:
    """Whether this task or exit binds to it."""
    return is_input(info) and info.name == names.consumer(_subject(info), process)


def is_reply_of(info: ConsumerInfo, trigger: str) -> bool:
    """Whether a pod of this trigger made it, for the replies: it ends with a random id, before which the Go SDK writes
    a dash and the Python SDK doesn't."""
    prefix = names.consumer(_subject(info), trigger)
    pushed = bool(info.config.deliver_subject) and not info.config.deliver_group
    return pushed and re.fullmatch(f"{re.escape(prefix)}-?{_UUID}", info.name) is not None


def pending(info: ConsumerInfo) -> int:
    """Messages that wait for it, and that somebody has in hand."""
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


def floor(info: ConsumerInfo) -> int:
    """The sequence up to which all is acked. A new consumer's is that of the stream's last message then."""
    return info.ack_floor.stream_seq if info.ack_floor else 0


def _subject(info: ConsumerInfo) -> Subject:
    return Subject(info.config.filter_subject or "")


def _new(name: names.Consumer) -> ConsumerConfig:
    """As the Go client wants it, which refuses one that differs."""
    return ConsumerConfig(
        durable_name=name,
        deliver_group=name,
        deliver_subject=f"_INBOX.{name}",
        deliver_policy=DeliverPolicy.NEW,
        ack_policy=AckPolicy.EXPLICIT,
        max_deliver=-1,
    )


def _wanted(found: ConsumerConfig, subject: Subject, in_hand: int) -> ConsumerConfig:
    return replace(
        found, filter_subject=subject, filter_subjects=None, ack_wait=ACK_WAIT_SECONDS, max_ack_pending=in_hand
    )
