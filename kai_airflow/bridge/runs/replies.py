"""The way back: when a run that the bridge started has ended, its exits' messages go to who asked, once.

For each answered run there are two records in the stream of its request, on a subject of its own: one before the first
message of the answer, and one behind the last. Who writes the first one sends; where that bridge dies, another goes on
after a while with what isn't there yet. Each message is guarded by the last sequence of its subject, so that a bridge
that was only away for a while can't send what another one has sent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from nats.js.errors import APIError, NoStreamResponseError

from kai_airflow.bridge.runs.versions import takes_from
from kai_airflow.messaging import codec
from kai_airflow.messaging.codec import Message, MessageType
from kai_airflow.messaging.errors import BadMessageError, MessageTooLargeError, translated
from kai_airflow.messaging.guarded import last_sequence, publish_after
from kai_airflow.messaging.reading import messages, microseconds, stored
from kai_airflow.messaging.streams import created, largest
from kai_airflow.messaging.tries import Manifest, Try
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.js.api import RawStreamMsg

    from kai_airflow.bridge.client import Airflow, Run
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.origin import Origin
    from kai_airflow.plan import Process, Workflow

log = logging.getLogger(__name__)

TAKEOVER = timedelta(seconds=30)  # after which an answer that was begun and not ended is another bridge's
PART = "Kai-Airflow-Part"  # header of a reply: its run, and its number among the run's replies
OWN_HEADERS = 1024  # bytes at most that a reply's headers take
TOO_LARGE = 10054  # what JetStream says to a message beyond its stream's max_msg_size
BEGUN, DONE = b"begun", b"done"
Holder = Literal["ours", "theirs", "nobody"]
OURS: Holder = "ours"
THEIRS: Holder = "theirs"
NOBODY: Holder = "nobody"
MANIFEST = "manifest"
FAILED = ("failed", "upstream_failed")


@dataclass(frozen=True)
class Reply:
    """One message to who asked: where it goes, and what."""

    subject: str
    data: bytes


@dataclass
class Answers:
    """Answers to runs of workflows, by DAG id."""

    connection: Connection
    airflow: Airflow
    workflows: Mapping[str, Workflow] = field(default_factory=dict)

    async def give(self, run: Run) -> bool:
        """Answer an ended run; False where another bridge is at it, and may die over it, or nobody knows its workflow.

        :raises AirflowError: Airflow can't tell how it ended
        :raises MessagingError: NATS doesn't answer, or refuses
        """
        workflow = self.workflows.get(run.dag_id)
        origin = run.origin
        if origin is None:
            return True
        if workflow is None:
            return False
        if workflow.mode != "batch" or not await self._is_of(workflow, origin):
            return True
        record = Record(self.connection, names.Stream(origin.stream), origin.sequences[0])
        holder = await record.take()
        if holder != OURS:
            return holder == NOBODY
        replies = await self._replies(workflow, run, origin)
        if not await self._is_over(run):
            return True
        await self._send(record, run.run_id, replies)
        log.info("run %s of %s (%s) is answered: %d message(s)", run.run_id, run.dag_id, run.state, len(replies))
        return True

    async def _is_of(self, workflow: Workflow, origin: Origin) -> bool:
        """Whether the messages are the workflow's, and still there.

        In a stream that was made anew its numbers mean other messages, and anybody may give a run any id and any conf.
        """
        stream = names.Stream(origin.stream)
        if (
            not takes_from(workflow, stream)
            or (found := await stored(self.connection, stream, origin.sequences[0])) is None
        ):
            return False
        published = names.output_subject(stream, origin.trigger)
        return (
            f"{found.subject}.".startswith(f"{published}.")
            and microseconds(found.time) == origin.published
            and await created(self.connection.js, stream) == origin.created
        )

    async def _is_over(self, run: Run) -> bool:
        """Whether a run is still as it ended: what was read of one that was cleared meanwhile is of no account."""
        now = await self.airflow.run(run.dag_id, run.run_id)
        return now is not None and (now.state, now.end) == (run.state, run.end)

    async def _replies(self, workflow: Workflow, run: Run, origin: Origin) -> list[Reply]:
        """What the run's exits published; for requests of a failed run that got nothing, an ERROR."""
        states = await self.airflow.states(run)
        replies: list[Reply] = []
        answered: set[str] = set()
        for process in workflow.processes:
            if process.type == "exit" and states.get(process.name) in ("success", "failed"):
                for message, channel in await self._published(workflow, run, process):
                    answered.add(message.request_id)
                    replies.append(self._reply(origin, process.name, channel, message))
        if run.state == "failed":
            replies += await self._errors(workflow, run, origin, states, answered)
        return replies

    async def _manifest(self, workflow: Workflow, run: Run, process: Process) -> Manifest | None:
        said = await self.airflow.xcom(run, process.name, MANIFEST)
        if said is None:
            return None
        try:
            manifest = Manifest.from_json(said)
        except (ValueError, KeyError, TypeError, AttributeError):
            manifest = None
        if manifest is None or manifest.stream != workflow.run_stream:
            log.warning("run %s of %s: nobody can read what %s left in its XCom", run.run_id, run.dag_id, process.name)
            return None
        return manifest

    async def _published(self, workflow: Workflow, run: Run, process: Process) -> list[tuple[Message, str]]:
        manifest = await self._manifest(workflow, run, process)
        if manifest is None:
            return []
        found = []
        places = sorted((n, try_id) for tries in manifest.channels.values() for try_id, ns in tries.items() for n in ns)
        for sequence, try_id in places:
            of = Try(manifest.stream, try_id, process.name)
            raw = await stored(self.connection, manifest.stream, sequence)
            if raw is None or not (raw.subject or "").startswith(of.output):
                log.warning("run %s: what %s published has expired: message %d", run.run_id, process.name, sequence)
                continue
            try:
                found.append((codec.decode(raw.data or b""), of.channel(raw.subject or "")))
            except BadMessageError as error:
                log.warning("run %s: message %d of %s: %s", run.run_id, sequence, manifest.stream, error)
        return found

    def _reply(self, origin: Origin, exit_: str, channel: str, message: Message) -> Reply:
        subject = names.output_subject(names.Stream(origin.stream), exit_)
        try:
            data = codec.encode(message, largest(self.connection) - OWN_HEADERS)
        except MessageTooLargeError as error:
            data = codec.encode(_error(message.request_id, exit_, str(error)), self.connection.max_payload)
        return Reply(f"{subject}.{channel}" if channel else subject, data)

    async def _errors(
        self, workflow: Workflow, run: Run, origin: Origin, states: Mapping[str, str | None], answered: set[str]
    ) -> list[Reply]:
        """An ERROR of each exit that the trigger listens to, for each request that has no result."""
        broken = ", ".join(name for name, state in states.items() if state == FAILED[0]) or "before its first task"
        text = f"run {run.run_id} of {run.dag_id} failed: {broken}"
        ids = [one for one in await self._request_ids(origin) if one not in answered]
        exits = _listened_to(workflow, origin.trigger)
        return [self._reply(origin, name, "", _error(one, name, text)) for one in ids for name in exits]

    async def _request_ids(self, origin: Origin) -> list[str]:
        """Each once, whole: a run's conf may have them cut."""
        found: dict[str, None] = {}
        for sequence in origin.sequences:
            raw = await stored(self.connection, origin.stream, sequence)
            if raw is not None:
                found[codec.decode(raw.data or b"").request_id] = None
        return list(found)

    async def _send(self, record: Record, run_id: str, replies: Sequence[Reply]) -> None:
        sent: dict[str, Sent] = {}
        for number, reply in enumerate(replies):
            on = sent.setdefault(reply.subject, Sent(self.connection, record.stream, reply.subject, record.begun))
            await on.send(f"{run_id} {number}", reply.data)
        await record.end()


@dataclass
class Sent:
    """The replies on a subject, as far as they were read; the first of ours stands behind ``read``."""

    connection: Connection
    stream: str
    subject: str
    read: int
    _last: int | None = None
    _parts: set[str] = field(default_factory=set)

    async def send(self, part: str, data: bytes) -> None:
        """Publish one, unless it is there: it is the next one on its subject behind those that were read."""
        with translated(f"answer on {self.subject}"):
            if self._last is None:
                self._last = await self._read()
            while part not in self._parts and not await self._published(part, data):
                self._last = await self._read()

    async def _read(self) -> int:
        """Read on; gives the last sequence of the subject."""
        last = await last_sequence(self.connection, self.stream, self.subject)
        async for raw in messages(self.connection, self.stream, self.subject, after=self.read):
            self._parts.add((raw.headers or {}).get(PART, ""))
            self.read = last = raw.seq or 0
        return last

    async def _published(self, part: str, data: bytes) -> bool:
        """Whether nobody was faster."""
        last, headers = self._last or 0, {PART: part}
        try:
            sequence = await publish_after(self.connection, self.stream, self.subject, data, last, headers)
        except NoStreamResponseError:
            # The request is of another version, whose exits had other names.
            log.warning("nobody takes in %s: a reply is left out", self.subject)
            return True
        except APIError as error:
            if error.err_code != TOO_LARGE:
                raise
            log.warning("%s takes no reply of %d bytes on %s: it is left out", self.stream, len(data), self.subject)
            return True
        self._last = sequence
        return sequence is not None


@dataclass
class Record:
    """Whether a request's run is being answered, or was: on a subject of its own, ``begun`` and in the end ``done``.

    ``begun``: where the first word stands; all that was ever answered stands behind it.
    """

    connection: Connection
    stream: names.Stream
    request: int
    begun: int = 0
    _last: int = 0

    async def take(self) -> Holder:
        """Whose it is to answer; where it is nobody's yet, it is ours."""
        words = await self._words()
        if not words:
            return await self._begin(0)
        newest = words[-1]
        if newest.data == DONE:
            return NOBODY
        if datetime.now(UTC) - (newest.time or datetime.now(UTC)) < TAKEOVER:
            return THEIRS
        self.begun = words[0].seq or 0
        return await self._begin(newest.seq or 0)

    async def end(self) -> None:
        """All of it is sent. Where another bridge has taken over, that is for it to say."""
        await self._write(DONE, self._last)

    async def _words(self) -> list[RawStreamMsg]:
        subject = names.answer_subject(self.stream, self.request)
        with translated(f"see whether message {self.request} of {self.stream} was answered"):
            return [raw async for raw in messages(self.connection, self.stream, subject)]

    async def _begin(self, last: int) -> Holder:
        self._last = await self._write(BEGUN, last)
        self.begun = self.begun or self._last
        return OURS if self._last else THEIRS

    async def _write(self, word: bytes, last: int) -> int:
        """The word's sequence, 0 where somebody was faster."""
        subject = names.answer_subject(self.stream, self.request)
        with translated(f"write down that message {self.request} of {self.stream} is answered"):
            return await publish_after(self.connection, self.stream, subject, word, last) or 0


def _listened_to(workflow: Workflow, trigger: str) -> list[str]:
    """The exits that a trigger waits for; the first exit where it waits for none."""
    listening = [process for process in workflow.triggers if process.name == trigger]
    replies = [subscription.partition(".")[0] for process in listening for subscription in process.replies]
    exits = [process.name for process in workflow.processes if process.type == "exit"]
    return list(dict.fromkeys(name for name in replies if name in exits)) or exits[:1]


def _error(request_id: str, from_node: str, text: str) -> Message:
    return Message(request_id, error=text, from_node=from_node, type=MessageType.ERROR)
