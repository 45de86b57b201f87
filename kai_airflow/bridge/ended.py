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
from kai_airflow.messaging.cancelling import heed_cancel
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
# A run may show that long after its end: transactions of the scheduler, clocks of several. Mostly it shows soon.
LATE, SOON = timedelta(seconds=60), timedelta(seconds=5)
LONG_LOOK = timedelta(seconds=20)  # between two looks at all that may have come late
BEGINNING = datetime.fromtimestamp(0, UTC)

_Key = tuple[str, str, str | None]  # of a run: its DAG, its id, and which of its ends


@dataclass
class Ended:
    """Answers all that end, from where the last bridge was.

    ``since``: all that ended before is answered; it is noted in NATS for the next bridge. Only what ended later is
    remembered.
    """

    answers: Answers
    since: datetime = BEGINNING
    _newest: datetime = BEGINNING
    _looked: datetime = BEGINNING
    _answered: dict[_Key, datetime] = field(default_factory=dict)
    _open: dict[_Key, Run] = field(default_factory=dict)

    async def follow(self) -> None:
        """Go on until cancelled; what fails is tried again."""
        trouble = ""
        while True:
            heed_cancel()
            try:
                if self.since == BEGINNING:
                    self.since = self._newest = await self._last_time()
                await self._look(datetime.now(UTC))
                trouble = ""
            except KaiAirflowError as error:
                if str(error) != trouble:
                    log.warning("replies wait: %s", error)
                trouble = str(error)
            await asyncio.sleep(FAILED if trouble else POLL)

    async def _look(self, now: datetime) -> None:
        long = now - self._looked > LONG_LOOK
        for run in list(self._open.values()):
            await self._answer(run)
        async for run in self.answers.airflow.ended(PREFIX, (self.since if long else self._newest - SOON).isoformat()):
            self._newest = max(self._newest, _end(run))
            if _key(run) not in self._answered:
                await self._answer(run)
        if long:
            self._looked = now
            await self._advance()

    async def _answer(self, run: Run) -> None:
        """Answer it, or keep it for the next look."""
        try:
            given = await self.answers.give(run)
        except KaiAirflowError as error:
            log.warning("run %s of %s can't be answered yet: %s", run.run_id, run.dag_id, error)
            given = False
        if given:
            self._open.pop(_key(run), None)
            self._answered[_key(run)] = _end(run)
        else:
            self._open[_key(run)] = run

    async def _advance(self) -> None:
        """All before the first that is open is answered, but for what may still show."""
        since = min([self._newest, *map(_end, self._open.values())]) - LATE
        if since > self.since:
            self.since = since
            self._answered = {key: end for key, end in self._answered.items() if end >= since}
            await self._note()

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


def _key(run: Run) -> _Key:
    return run.dag_id, run.run_id, run.end


def _end(run: Run) -> datetime:
    return datetime.fromisoformat(run.end) if run.end else datetime.now(UTC)
