"""Sending a workflow a request as its trigger would, and hearing what comes back."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kai_airflow.bridge.runs.replies import DONE, PART
from kai_airflow.bridge.runs.requests import RunRequest
from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import Message, MessageType
from kai_airflow.messaging.errors import BadMessageError, NoStreamError, translated
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.origin import Origin, request_of_run
from kai_airflow.messaging.streams import created, largest, stream_names
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_airflow.messaging.codec import Json
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.pull import Delivery
    from kai_airflow.plan import Workflow

PATIENCE = 10.0  # seconds for a bridge that was just started to make the stream
POLL = 0.25  # seconds


@dataclass(frozen=True)
class Sent:
    """A request that was sent: its message in the workflow's live stream, which was made at ``created``."""

    stream: names.Stream
    created: str
    trigger: str
    sequence: int
    request_id: str

    @property
    def run_id(self) -> str:
        """The run that it starts where it starts one alone."""
        return Origin(self.stream, self.created, self.trigger, (self.sequence,), 0).run_id


@dataclass(frozen=True)
class Answer:
    """A message that an exit sent back, on a channel ("" is its bare subject)."""

    exit: str
    channel: str
    message: Message

    @property
    def failed(self) -> bool:
        """Whether it is an ERROR."""
        return self.message.type is MessageType.ERROR

    @property
    def payload(self) -> Json:
        """What it carries, as JSON."""
        try:
            return codec.unpack(self.message.payload)
        except BadMessageError:
            return codec.opaque(self.message.payload)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: with ``error`` where it is one, else with ``payload``."""
        said = {"request_id": self.message.request_id, "exit": self.exit, "channel": self.channel}
        return {**said, **({"error": self.message.error} if self.failed else {"payload": self.payload})}


async def send(
    connection: Connection,
    workflow: Workflow,
    trigger: str,
    payload: Json,
    request_id: str,
    waiting: Callable[[], None] = lambda: None,
) -> Sent:
    """Publish a request where the trigger would.

    :param waiting: called once where the stream isn't there yet, and is waited for
    :raises NoStreamError: it isn't there in time
    :raises PayloadError: the payload can't travel unchanged
    :raises MessagingError: NATS doesn't answer, or refuses; the message is too large
    """
    stream, subject = workflow.live_stream, names.output_subject(workflow.live_stream, trigger)
    message = Message(request_id, codec.pack(payload), from_node=trigger)
    data = codec.encode(message, largest(connection))
    await _ready(connection, stream, subject, waiting)
    moment = await created(connection.js, stream)
    with translated(f"publish on {subject}"):
        ack = await connection.js.publish(subject, data, stream=stream)
    return Sent(stream, moment, trigger, ack.seq, request_id)


async def _ready(
    connection: Connection, stream: names.Stream, subject: names.Subject, waiting: Callable[[], None]
) -> None:
    deadline = time.monotonic() + PATIENCE
    told = False
    while stream not in await stream_names(connection, subject):
        if time.monotonic() > deadline:
            raise NoStreamError(stream)
        if not told:
            told = True
            waiting()
        await asyncio.sleep(POLL)


async def answers(
    connection: Connection, workflow: Workflow, sent: Sent, started: Callable[[str], None] = lambda _: None
) -> list[Answer]:
    """Wait for what comes back; nothing where the run ends without an answer.

    The stream keeps replies, and the bridge's records beside them: what was sent before we look isn't missed.

    :param started: called with the run's id, once where it is known
    """
    wait = _Wait(workflow, sent, started)
    subjects = [names.answer_subject(sent.stream, "*"), names.groups_subject(sent.stream, sent.trigger)]
    subjects += [subject for name in wait.exits for subject in names.live_subjects(sent.stream, name)]
    async with aclosing(Reader(connection, sent.stream, subjects, after=sent.sequence).coming()) as coming:
        async for one in coming:
            if wait.is_over(one):
                break
    return wait.answers


@dataclass
class _Wait:
    """What was heard so far; ``first`` is the first message of the run that carries ours, as soon as it is known."""

    workflow: Workflow
    sent: Sent
    started: Callable[[str], None]
    first: int = 0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exits = [process.name for process in self.workflow.processes if process.type == "exit"]
        if self.workflow.mode == "batch" and self.workflow.messages_per_run == 1:
            self._know(self.sent.run_id)

    def is_over(self, one: Delivery) -> bool:
        """Whether this was the last that comes."""
        place, _, rest = one.subject.removeprefix(f"{self.sent.stream}.").partition(".")
        if place == names.BRIDGE:
            return self._read(rest, one)
        return self._hear(place, rest, one)

    def _read(self, record: str, one: Delivery) -> bool:
        kind, _, name = record.partition(".")
        if kind == "answers":
            return one.data == DONE and int(name) in (self.first, self.sent.sequence)
        origin = RunRequest.from_json(one.data).origin
        if self.sent.sequence in origin.sequences:
            self._know(origin.run_id)
        return False

    def _hear(self, name: str, channel: str, one: Delivery) -> bool:
        try:
            message = codec.decode(one.data)
        except BadMessageError:
            return False
        if message.request_id != self.sent.request_id:
            return False
        self.answers.append(Answer(name, channel, message))
        self._know(one.headers.get(PART, "").rpartition(" ")[0])
        return self.workflow.mode != "batch"  # the live processes of a streaming one don't say which is the last

    def _know(self, run_id: str) -> None:
        found = request_of_run(run_id)
        if found and found[1] != self.first:
            self.first = found[1]
            self.started(run_id)
