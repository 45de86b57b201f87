"""Which of the bridge's runs have ended: Airflow is asked each second for what ended since."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.origin import PREFIX

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

    from kai_airflow.bridge.client import Run
    from kai_airflow.bridge.replies import Answers

log = logging.getLogger(__name__)

POLL = 1.0  # seconds
FAILED = 5.0  # seconds until the next look after one that failed
BUCKET = "bridge"
# A run may show that long after its end: transactions of the scheduler, clocks of several.
LATE = timedelta(seconds=60)
NOTED_EVERY = timedelta(seconds=10)
BEGINNING = datetime.fromtimestamp(0, UTC)


@dataclass
class Ended:
    """Answers all that end, from where the last bridge was; ``since`` is noted in NATS for the next one.

    All that ended before ``since`` is answered. Only runs behind it are remembered.
    """

    answers: Answers
    since: datetime = BEGINNING
    _noted: datetime = BEGINNING
    _answered: dict[tuple[str, str, str], datetime] = field(default_factory=dict)

    async def follow(self) -> None:
        """Go on until cancelled; what fails is tried again."""
        while True:
            try:
                if self.since == BEGINNING:
                    self.since = self._noted = await self._last_time()
                await self._look()
                pause = POLL
            except KaiAirflowError as error:
                log.warning("answers: %s", error)
                pause = FAILED
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        began = datetime.now(UTC)
        newest, open_since = self.since, began
        async for run in self.answers.airflow.ended(PREFIX, self.since.isoformat()):
            end = datetime.fromisoformat(run.end or began.isoformat())
            newest = max(newest, end)
            if not await self._answer(run, end):
                open_since = min(open_since, end)
        self.since = max(self.since, min(newest, open_since) - LATE)
        self._answered = {key: end for key, end in self._answered.items() if end >= self.since}
        if self.since - self._noted > NOTED_EVERY:
            await self._note()

    async def _answer(self, run: Run, end: datetime) -> bool:
        """Whether it needs no more looking at."""
        key = (run.dag_id, run.run_id, run.end or "")
        if key in self._answered:
            return True
        try:
            given = await self.answers.give(run)
        except KaiAirflowError as error:
            log.warning("run %s of %s can't be answered yet: %s", run.run_id, run.dag_id, error)
            return False
        if given:
            self._answered[key] = end
        return given

    @property
    def _key(self) -> str:
        return hashlib.sha256(self.answers.airflow.url.encode()).hexdigest()[:16]

    async def _bucket(self) -> KeyValue:
        js = self.answers.connection.js
        try:
            return await js.key_value(BUCKET)
        except BucketNotFoundError:
            return await js.create_key_value(KeyValueConfig(BUCKET, storage=StorageType.FILE))

    async def _last_time(self) -> datetime:
        with translated(f"read bucket {BUCKET}"):
            try:
                entry = await (await self._bucket()).get(self._key)
            except KeyNotFoundError:
                return BEGINNING + LATE
        return datetime.fromisoformat((entry.value or b"").decode())

    async def _note(self) -> None:
        with translated(f"write to bucket {BUCKET}"):
            await (await self._bucket()).put(self._key, self.since.isoformat().encode())
        self._noted = self.since
