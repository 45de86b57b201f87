"""Which messages share a run, written down once: a redelivery can't regroup them.

The records of a trigger stand in the stream of the messages themselves, behind them, so that they expire and are
deleted with them and never before. Each is guarded by the last one's sequence: who writes one has seen all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js.errors import APIError, NotFoundError

from kai_airflow.bridge.requests import RunRequest
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.feed import EXPECTED_LAST, WRONG_LAST_SEQUENCE
from kai_airflow.messaging.reading import messages
from kai_airflow.plan import names

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection


@dataclass(frozen=True)
class Known:
    """The sequences that stand in records, and the last record's own."""

    sequences: frozenset[int]
    last: int


@dataclass(frozen=True)
class Groups:
    """The records of one trigger."""

    connection: Connection
    stream: names.Stream
    trigger: str

    @property
    def subject(self) -> names.Subject:
        """Where they stand."""
        return names.groups_subject(self.stream, self.trigger)

    async def known(self, first: int) -> Known:
        """What is written down of the messages from this one on. A record stands behind its messages."""
        with translated(f"read the groups of {self.trigger!r}"):
            try:
                last = (await self.connection.js.get_last_msg(self.stream, self.subject)).seq or 0
            except NotFoundError:
                last = 0
            sequences: set[int] = set()
            if last > first:
                async for raw in messages(self.connection, self.stream, self.subject, after=first):
                    sequences |= set(RunRequest.from_json(raw.data or b"").origin.sequences)
                    last = raw.seq or 0
        return Known(frozenset(sequences), last)

    async def write(self, request: RunRequest, known: Known) -> bool:
        """Write a group down; False where somebody else has written one meanwhile."""
        headers = {EXPECTED_LAST: str(known.last)}
        with translated(f"write a group of {self.trigger!r} down"):
            try:
                await self.connection.js.publish(self.subject, request.to_json(), stream=self.stream, headers=headers)
            except APIError as error:
                if error.err_code != WRONG_LAST_SEQUENCE:
                    raise
                return False
        return True
