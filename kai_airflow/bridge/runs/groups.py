"""Which messages share a run, written down once: a redelivery can't regroup them.

The records of a trigger stand in the stream of the messages themselves, behind them, so that they expire and are
deleted with them and never before. Each is guarded by the last one's sequence: who writes one has seen all others.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kai_airflow.bridge.runs.requests import RunRequest
from kai_airflow.messaging.errors import OriginError, translated
from kai_airflow.messaging.guarded import last_sequence, publish_after
from kai_airflow.messaging.reading import messages
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Set

    from nats.js.api import RawStreamMsg

    from kai_airflow.messaging.connection import Connection

MOST = 100_000  # messages that are remembered; of those before, records are read again where one turns up


@dataclass
class Groups:
    """The records of one trigger, as far as they were read: each once, whatever the number of messages.

    ``_last``: the last record's sequence. ``_grouped``: the messages from ``_floor`` on that stand in records.
    """

    connection: Connection
    stream: names.Stream
    trigger: str
    _last: int = 0
    _floor: int | None = None
    _grouped: set[int] = field(default_factory=set)

    @property
    def subject(self) -> names.Subject:
        """Where they stand."""
        return names.groups_subject(self.stream, self.trigger)

    async def grouped(self, first: int) -> Set[int]:
        """Which messages stand in records, of those from ``first`` on. Raises MessagingError."""
        with translated(f"read the groups of {self.trigger!r}"):
            if self._floor is None or first < self._floor:
                await self._begin(first)
            async for raw in messages(self.connection, self.stream, self.subject, after=self._last):
                self._take(raw)
        if len(self._grouped) > MOST:
            self._floor, self._grouped = first, {sequence for sequence in self._grouped if sequence >= first}
        return self._grouped

    async def _begin(self, first: int) -> None:
        """Read from that message on: a record stands behind its messages."""
        self._last = await last_sequence(self.connection, self.stream, self.subject)
        self._floor, self._grouped = first, set()
        if self._last > first:
            self._last = first
            async for raw in messages(self.connection, self.stream, self.subject, after=first):
                self._take(raw)

    def _take(self, raw: RawStreamMsg) -> None:
        self._last = raw.seq or 0
        with suppress(OriginError):  # no bridge has written it; whose record it becomes a dead letter tells of it
            self._grouped |= set(RunRequest.from_json(raw.data or b"").origin.sequences)

    async def write(self, request: RunRequest) -> bool:
        """Write a group down; False where somebody else has written one since they were read."""
        with translated(f"write a group of {self.trigger!r} down"):
            written = await publish_after(self.connection, self.stream, self.subject, request.to_json(), self._last)
        if written is None:
            self._floor = None  # somebody was faster, or the last record has expired: begin anew
            return False
        self._last = written
        self._grouped |= set(request.origin.sequences)
        return True
