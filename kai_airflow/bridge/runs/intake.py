"""Messages of one trigger to runs: each in exactly one, in their order, acked when Airflow has the run.

What makes it exactly one, whatever dies: a run's id is made of its first message's place, and Airflow refuses a second
run with that id. What has a run already is told by the conf of that run alone, never by the 409.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kai_airflow.bridge.client import CONFLICT, NOT_FOUND, AirflowError
from kai_airflow.bridge.runs import deadletters
from kai_airflow.bridge.runs.groups import Groups
from kai_airflow.bridge.runs.requests import RunRequest, run_request
from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import BadMessageError, MessagingError, OriginError, StreamGoneError
from kai_airflow.messaging.origin import Origin, without
from kai_airflow.messaging.pull import pulling
from kai_airflow.messaging.reading import microseconds, stored
from kai_airflow.messaging.streams import created

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from typing import Any

    from kai_airflow.bridge.client import Run
    from kai_airflow.bridge.runs.gate import Gate
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.pull import Delivery, Pull
    from kai_airflow.plan.names import Stream

log = logging.getLogger(__name__)

BATCH = 256  # messages that are asked for at once, at most
HELD = 1.0  # seconds that a batch may take: what a bridge that dies has in hand waits for ACK_WAIT
RECORDS = 16  # groups
ACK_WAIT = 30.0  # seconds until what nobody acked is delivered again, to whoever asks
PATIENCE = ACK_WAIT / 2  # seconds after which the rest of a batch is handed back
LINGER = 0.25  # seconds that a group waits for more messages


class Runs(Protocol):
    """What an intake asks of Airflow."""

    async def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any], note: str) -> None:
        """Start a run; raises AirflowError, with status 409 where there is one with this id."""

    async def run(self, dag_id: str, run_id: str) -> Run | None:
        """A run, None where there is none."""


class NotNowError(MessagingError):
    """Airflow takes no run now: what isn't done is handed back, and waits."""


@dataclass(frozen=True)
class Source:
    """A trigger's messages: the stream that was made at a certain moment, and the consumers of the bridge there."""

    stream: Stream
    created: str
    trigger: str
    messages: str
    groups: str


@dataclass
class Pace:
    """How many messages are asked for at once: what takes a second, as the last ones did."""

    most: int = 16

    def learn(self, done: int, seconds: float) -> None:
        """So many were done in this time."""
        if done:
            self.most = max(1, min(BATCH, int(done * HELD / max(seconds, 0.001))))


@dataclass
class Intake:
    """The way of one trigger's messages into runs of a DAG. Several may work on one trigger, also in other bridges."""

    connection: Connection
    airflow: Runs
    gate: Gate
    dag_id: str
    source: Source
    messages_per_run: int = 1

    def __post_init__(self) -> None:
        self._groups = Groups(self.connection, self.source.stream, self.source.trigger)

    async def work(self) -> None:
        """Go on until cancelled.

        :raises NoConsumerError: the stream or its consumers are gone
        :raises StreamGoneError: the stream is another one
        :raises MessagingError: NATS doesn't answer, or refuses
        """
        stream = self.source.stream
        try:
            async with (
                pulling(self.connection, stream, self.source.messages) as messages,
                pulling(self.connection, stream, self.source.groups) as records,
                asyncio.TaskGroup() as both,
            ):
                both.create_task(self._work(messages))
                both.create_task(self._work_on_records(records))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self, pull: Pull) -> None:
        alone, pace, left = self.messages_per_run == 1, Pace(), 0
        while True:
            # What was handed back comes again in its order, but for what is handed back behind it meanwhile.
            most, linger = (max(pace.most, left), 0.0) if alone else (self.messages_per_run, LINGER)
            batch = deque(await pull.batch(most, linger))
            taken, began = len(batch), time.monotonic()
            async with _handed_back(pull, batch):
                await self._leave_out_known(pull, batch)
                if alone:
                    await self._start_each(pull, batch)
                else:
                    await self._write_down(pull, batch)
            left = len(batch)
            pace.learn(taken - left, time.monotonic() - began)
            await self.gate.opens()

    async def _work_on_records(self, pull: Pull) -> None:
        while True:
            batch = deque(await pull.batch(RECORDS))
            async with _handed_back(pull, batch):
                for one in _in_time(batch):
                    await self._start_recorded(one)
                    await pull.ack(batch.popleft())
            await self.gate.opens()

    async def _start_recorded(self, one: Delivery) -> None:
        try:
            request = RunRequest.from_json(one.data)
        except OriginError as error:  # processes may publish there as well
            await self._bury(one.sequence, str(error), one.attempts)
        else:
            await self._start(request, one.attempts)

    async def _start_each(self, pull: Pull, batch: deque[Delivery]) -> None:
        for one in _in_time(batch):
            if (message := await self._read(one)) is not None:
                request = run_request(self._origin([one]), [message])
                await self._start(request, one.attempts)
            await pull.ack(batch.popleft())

    async def _write_down(self, pull: Pull, batch: deque[Delivery]) -> None:
        """One record for all of them; who writes it has seen all records before, so no message is in two."""
        while batch:
            if not await self.gate.is_open():
                raise NotNowError
            grouped = await self._groups.grouped(min(one.sequence for one in batch))
            read = [(one, await self._read(one)) for one in batch if one.sequence not in grouped]
            good = [(one, message) for one, message in read if message is not None]
            if good:
                origin = self._origin([one for one, _ in good])
                request = run_request(origin, [message for _, message in good])
                if not await self._groups.write(request):
                    continue
            while batch:
                await pull.ack(batch.popleft())

    async def _leave_out_known(self, pull: Pull, batch: deque[Delivery]) -> None:
        """Ack what stands in a group: it was delivered again because its ack was lost."""
        grouped = await self._groups.grouped(min(one.sequence for one in batch))
        for one in [one for one in batch if one.sequence in grouped]:
            await pull.ack(one)
            batch.remove(one)

    def _origin(self, deliveries: Sequence[Delivery]) -> Origin:
        in_order = sorted(deliveries, key=lambda one: one.sequence)
        return Origin(
            stream=self.source.stream,
            created=self.source.created,
            trigger=self.source.trigger,
            sequences=tuple(one.sequence for one in in_order),
            published=in_order[0].published,
        )

    async def _read(self, one: Delivery) -> codec.Message | None:
        """The message; None where nobody can read it, and it is a dead letter."""
        try:
            return codec.decode(one.data)
        except BadMessageError as error:
            await self._bury(one.sequence, str(error), one.attempts)
            return None

    async def _start(self, request: RunRequest, attempts: int) -> None:
        """Have a run that carries the messages; what has one already needs none.

        :raises NotNowError: Airflow takes none now
        """
        wanted: RunRequest | None = request
        while wanted is not None:
            if not await self.gate.admits():
                raise NotNowError
            try:
                await self.airflow.start(self.dag_id, wanted.origin.run_id, wanted.conf, wanted.note)
                log.info("run %s of %s: %s", wanted.origin.run_id, self.dag_id, wanted.note)
                return
            except AirflowError as error:
                wanted = await self._refused(wanted, error, attempts)

    async def _refused(self, request: RunRequest, error: AirflowError, attempts: int) -> RunRequest | None:
        """What is left to start after a refusal."""
        if error.status == CONFLICT:
            return await self._left(request, attempts)
        if error.is_passing or error.status == NOT_FOUND:
            self.gate.close(str(error))
            raise NotNowError from error
        if await self.gate.closed():
            raise NotNowError from error
        await self._bury_all(request, str(error), attempts)
        return None

    async def _left(self, request: RunRequest, attempts: int) -> RunRequest | None:
        """There is a run with our id. What of our messages it doesn't carry."""
        run = await self._run(request.origin.run_id)
        if run is None:
            return request
        carried = _carried(run.conf, request.origin)
        if not carried:
            if await created(self.connection.js, self.source.stream) != self.source.created:
                raise StreamGoneError(self.source.stream)
            await self._bury_all(request, f"Airflow has another run with the id {run.run_id}", attempts)
            return None
        rest = without(request.origin.sequences, carried)
        return await self._request_of(request.origin, rest, attempts) if rest else None

    async def _run(self, run_id: str) -> Run | None:
        try:
            return await self.airflow.run(self.dag_id, run_id)
        except AirflowError as error:
            self.gate.close(str(error))
            raise NotNowError from error

    async def _request_of(self, origin: Origin, sequences: Sequence[int], attempts: int) -> RunRequest | None:
        """A request of these messages as they stand in the stream."""
        kept: list[int] = []
        found: list[codec.Message] = []
        published = 0
        for sequence in sequences:
            try:
                raw = await stored(self.connection, origin.stream, sequence)
                if raw is None:
                    continue  # it has expired
                found.append(codec.decode(raw.data or b""))
            except BadMessageError as error:
                await self._bury(sequence, str(error), attempts)
                continue
            published = published or microseconds(raw.time)
            kept.append(sequence)
        return run_request(replace(origin, sequences=tuple(kept), published=published), found) if kept else None

    async def _bury_all(self, request: RunRequest, reason: str, attempts: int) -> None:
        for sequence in request.origin.sequences:
            await self._bury(sequence, reason, attempts)

    async def _bury(self, sequence: int, reason: str, attempts: int) -> None:
        source = self.source
        log.error("message %d of %s is a dead letter: %s", sequence, source.stream, reason)
        await deadletters.bury(
            self.connection, source.stream, source.created, sequence, reason=reason, attempts=attempts
        )


def _carried(conf: Mapping[str, Any], origin: Origin) -> Sequence[int]:
    """The messages that a run with our id carries, none where they aren't of our trigger and stream."""
    try:
        theirs = Origin.from_conf(conf)
    except OriginError:
        return ()
    same = theirs.is_of(origin) and theirs.published == origin.published
    return theirs.sequences if same else ()


def _in_time(batch: deque[Delivery]) -> Iterator[Delivery]:
    """The first of what is left, again and again, while there is time until the rest is delivered again anyway."""
    end = time.monotonic() + PATIENCE
    while batch and time.monotonic() < end:
        yield batch[0]


@asynccontextmanager
async def _handed_back(pull: Pull, batch: deque[Delivery]) -> AsyncIterator[None]:
    """What the block leaves in the batch is delivered again, in its order, to whoever asks next."""
    try:
        yield
    except NotNowError:
        pass
    finally:
        with suppress(MessagingError):  # without a connection the server does so by itself, later
            await pull.hand_back(list(batch))
