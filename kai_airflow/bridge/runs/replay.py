"""Past messages of triggers as new runs. Nobody gets a reply for them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from kai_airflow.bridge.client import CONFLICT, FORBIDDEN, UNAUTHORIZED, AirflowError
from kai_airflow.bridge.runs.requests import run_request
from kai_airflow.messaging import codec
from kai_airflow.messaging.errors import BadMessageError
from kai_airflow.messaging.following import Reader
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import microseconds, stored
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.runs.gate import Gate
    from kai_airflow.bridge.runs.requests import RunRequest
    from kai_airflow.messaging.connection import Connection

PAUSES = (0.5, 1.0, 2.0, 5.0)  # seconds between attempts while Airflow is out of reach


@dataclass(frozen=True)
class Past:
    """A message of a trigger that is still in its stream; ``published``: µs since 1970."""

    sequence: int
    trigger: str
    published: int


@dataclass(frozen=True)
class Choice:
    """Which messages: those published from ``since`` on and before ``until``, or those in spans of sequences."""

    since: datetime | None = None
    until: datetime | None = None
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def after(self) -> int:
        """The sequence behind which the first of them is; 0 where that isn't known."""
        return min((first for first, _ in self.spans), default=1) - 1

    def takes(self, one: Past) -> bool:
        """Whether it is one of them."""
        if self.spans:
            return any(first <= one.sequence <= last for first, last in self.spans)
        return self.until is None or one.published < microseconds(self.until)

    def is_over(self, one: Past) -> bool:
        """Whether none of them comes behind this one."""
        if self.spans:
            return one.sequence >= max(last for _, last in self.spans)
        return not self.takes(one)


async def past(connection: Connection, stream: names.Stream, triggers: Iterable[str], choice: Choice) -> list[Past]:
    """The chosen messages of these triggers, in their order.

    :raises NoStreamError: there is no such stream
    :raises MessagingError: NATS doesn't answer, or refuses
    """
    subjects = [subject for trigger in triggers for subject in names.live_subjects(stream, trigger)]
    reader = Reader(connection, stream, subjects, after=choice.after, since=choice.since, bare=True)
    found: list[Past] = []
    async with aclosing(reader.kept()) as kept:
        async for one in kept:
            trigger = one.subject.removeprefix(f"{stream}.").partition(".")[0]
            message = Past(one.sequence, trigger, one.published)
            if choice.takes(message):
                found.append(message)
            if choice.is_over(message):
                break
    return found


def chunks(messages: Iterable[Past], most: int) -> list[list[Past]]:
    """The messages of each run: up to so many of one trigger, in their order, the oldest run first."""
    of_trigger: dict[str, list[list[Past]]] = {}
    for one in messages:
        runs = of_trigger.setdefault(one.trigger, [])
        if not runs or len(runs[-1]) == most:
            runs.append([])
        runs[-1].append(one)
    return sorted((run for runs in of_trigger.values() for run in runs), key=lambda run: run[0].sequence)


@dataclass
class Replay:
    """The runs of one replay. ``created``: when the stream was made; ``left_out``: messages that nobody can read."""

    connection: Connection
    airflow: Airflow
    gate: Gate
    dag_id: str
    stream: names.Stream
    created: str
    moment: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ"))
    left_out: list[tuple[int, str]] = field(default_factory=list)

    async def request(self, chunk: Sequence[Past]) -> RunRequest | None:
        """What the run of these messages is to carry; None where none of them can be read. Raises MessagingError."""
        kept: list[Past] = []
        messages: list[codec.Message] = []
        for one in chunk:
            try:
                messages.append(await self._read(one))
                kept.append(one)
            except BadMessageError as error:
                self.left_out.append((one.sequence, str(error)))
        if not kept:
            return None
        sequences = tuple(one.sequence for one in kept)
        return run_request(Origin(self.stream, self.created, kept[0].trigger, sequences, kept[0].published), messages)

    def run_id(self, request: RunRequest) -> str:
        """The id of its run."""
        return request.origin.replay_id(self.moment)

    async def admitted(self) -> None:
        """Wait until the DAG takes one more run."""
        while not await self.gate.admits():
            await self.gate.opens()

    async def start(self, request: RunRequest) -> None:
        """Start a run. Raises AirflowError, which says so where nobody can tell whether it is there."""
        pauses = iter(PAUSES)
        while True:
            try:
                note = f"replay of {request.note}"
                return await self.airflow.start(self.dag_id, self.run_id(request), request.conf, note)
            except AirflowError as error:
                if error.status == CONFLICT:  # the answer to the attempt before was lost
                    return None
                pause = next(pauses, None)
                if pause is None or not error.is_passing or error.status in (UNAUTHORIZED, FORBIDDEN):
                    raise self._refused(request, error) from error
            await asyncio.sleep(pause)

    def _refused(self, request: RunRequest, error: AirflowError) -> AirflowError:
        doubt = (
            ""
            if error.status and error.status < httpx.codes.INTERNAL_SERVER_ERROR
            else " It may be there all the same."
        )
        return AirflowError(error.status, f"run {self.run_id(request)}: {error}{doubt}")

    async def _read(self, one: Past) -> codec.Message:
        raw = await stored(self.connection, self.stream, one.sequence)
        if raw is None:
            raise BadMessageError("it has just expired")
        return codec.decode(raw.data or b"")
