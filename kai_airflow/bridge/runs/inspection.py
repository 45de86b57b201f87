"""What an audit compares, read from NATS and Airflow while bridges go on working.

The order of the looks makes it true: first the messages, then what is acked of them, then where acked ones are. What
moves on between two looks is seen where it was before, or in both places; never in none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from nats.js.errors import NotFoundError

from kai_airflow.bridge.runs.audit import Audit, Backlog, Carrier, Held, Place, compare
from kai_airflow.bridge.runs.requests import RunRequest
from kai_airflow.bridge.runs.versions import takes_from
from kai_airflow.bridge.workflow import source_of
from kai_airflow.messaging.errors import NoStreamError, translated
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.origin import PREFIX
from kai_airflow.messaging.reading import microseconds
from kai_airflow.messaging.streams import consumer_info, created, stream_names
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats.js.api import StreamState

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.runs.intake import Source
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow


@dataclass(frozen=True)
class Inspection:
    """Looks at workflows whose messages start runs. All that it does raises MessagingError or AirflowError."""

    connection: Connection
    airflow: Airflow

    async def audit(self, workflow: Workflow, seen: Callable[[int], None] = lambda _: None) -> Audit:
        """Compare a workflow's messages with its runs.

        :param seen: called with the number of runs that were read so far
        """
        streams = await self._streams(workflow)
        places = [await self._place(workflow, stream) for stream in streams]
        carriers: dict[str, Carrier] = {}
        async for run in self.airflow.runs(workflow.dag_id, PREFIX):
            if (origin := run.origin) is not None:
                carriers[run.run_id] = Carrier(run.run_id, origin)
                seen(len(carriers))
        oldest = await self.airflow.oldest(workflow.dag_id)
        due = None if oldest is None else microseconds(datetime.fromisoformat(oldest.run_after))
        found = compare(workflow.dag_id, places, list(carriers.values()), due)
        if workflow.live_stream in streams:
            return found
        return replace(found, unsure=(f"there is no stream {workflow.live_stream} (yet): no messages", *found.unsure))

    async def waiting(self, workflow: Workflow) -> int:
        """How many messages and records bridges have still to do something with."""
        count = 0
        for stream in await self._streams(workflow):
            moment = await created(self.connection.js, stream)
            for trigger in workflow.triggers:
                source = source_of(stream, moment, trigger.name)
                for name, subjects in _consumers(source):
                    count += await self._unfinished(stream, name, subjects)
        return count

    async def _streams(self, workflow: Workflow) -> list[names.Stream]:
        """The workflow's own stream, and those of other versions that a bridge has taken up for it."""
        found = await stream_names(self.connection, names.bridge_subjects(names.Stream("*")))
        own = [one for one in found if one == workflow.live_stream]
        others = [one for one in found if one not in own and takes_from(workflow, one)]
        return own + [one for one in others if await self._is_taken_up(one, workflow)]

    async def _is_taken_up(self, stream: names.Stream, workflow: Workflow) -> bool:
        moment = await created(self.connection.js, stream)
        sources = [source_of(stream, moment, trigger.name) for trigger in workflow.triggers]
        return any([await consumer_info(self.connection.js, stream, one.messages) for one in sources])

    async def _place(self, workflow: Workflow, stream: names.Stream) -> Place:
        moment = await created(self.connection.js, stream)
        before = await self._state(stream)
        held = [await self._held(source_of(stream, moment, trigger.name)) for trigger in workflow.triggers]
        return Place(
            stream=stream,
            created=moment,
            last=before.last_seq,
            held=tuple(held),
            buried=await self._numbered(names.DEAD_LETTERS, names.dead_letter_subject(stream, moment, "*")),
            settled=await self._numbered(stream, names.settled_subject(stream, "*")),
            first=(await self._state(stream)).first_seq,
        )

    async def _held(self, source: Source) -> Held:
        (_, subjects), (_, groups) = _consumers(source)
        messages = {
            one.sequence: one.published
            async for one in Reader(self.connection, source.stream, subjects, bare=True).kept()
        }
        backlog = await self._backlog(source.stream, source.messages)
        of_records = await self._backlog(source.stream, source.groups)
        records = [one async for one in Reader(self.connection, source.stream, groups).kept()]
        grouped = {n: one.sequence for one in records for n in RunRequest.from_json(one.data).origin.sequences}
        return Held(source.trigger, messages, backlog, grouped, of_records)

    async def _backlog(self, stream: str, consumer: str) -> Backlog | None:
        info = await consumer_info(self.connection.js, stream, consumer)
        if info is None or info.ack_floor is None or info.delivered is None:
            return None
        return Backlog(info.ack_floor.stream_seq, info.delivered.stream_seq, info.num_ack_pending or 0)

    async def _unfinished(self, stream: str, consumer: str, subjects: Iterable[str]) -> int:
        info = await consumer_info(self.connection.js, stream, consumer)
        if info is not None:
            return (info.num_pending or 0) + (info.num_ack_pending or 0)
        return len([one async for one in Reader(self.connection, stream, list(subjects), bare=True).kept()])

    async def _numbered(self, stream: str, subject: str) -> frozenset[int]:
        """The numbers with which the subjects of messages end."""
        try:
            reader = Reader(self.connection, stream, [subject], bare=True)
            return frozenset([int(one.subject.rpartition(".")[2]) async for one in reader.kept()])
        except NoStreamError:
            return frozenset()

    async def _state(self, stream: str) -> StreamState:
        with translated(f"look at stream {stream}"):
            try:
                return (await self.connection.js.stream_info(stream)).state
            except NotFoundError as error:
                raise NoStreamError(stream) from error


def _consumers(source: Source) -> list[tuple[str, list[str]]]:
    """The consumers of a trigger's messages and records, and the subjects that each has."""
    return [
        (source.messages, [str(subject) for subject in names.live_subjects(source.stream, source.trigger)]),
        (source.groups, [names.groups_subject(source.stream, source.trigger)]),
    ]
