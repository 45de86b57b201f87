"""Which of the bridge's runs have ended: Airflow is asked each second for what ended since."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyDeletedError, KeyNotFoundError

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.cancelling import heed_cancel
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.origin import PREFIX

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

    from kai_airflow.bridge.client import Run
    from kai_airflow.bridge.runs.replies import Answers

log = logging.getLogger(__name__)

POLL = 1.0  # seconds
FAILED = 5.0  # seconds until the next look after one that failed
BUCKET = "bridge"
# A run may show that long after its end: transactions of the scheduler, clocks of several. Mostly it shows soon.
LATE, SOON = timedelta(seconds=60), timedelta(seconds=5)
LONG_LOOK = timedelta(seconds=20)  # between two looks at all that may have come late
# What can't be answered is tried for so long, and what no KRT file knows: one may be broken, or on its way.
PATIENCE, UNKNOWN = timedelta(days=1), timedelta(hours=1)
BEGINNING = datetime.fromtimestamp(0, UTC)

_Key = tuple[str, str, str | None]  # of a run: its DAG, its id, and which of its ends


@dataclass(frozen=True)
class _Open:
    """A run that can't be answered yet, and when it was tried first."""

    run: Run
    tried: datetime


@dataclass
class Ended:
    """Answers all that end, from where the last bridge was.

    ``since``: all that ended before is answered; it is noted in NATS for the next bridge. ``_from``: all that ended
    before is answered, or open; only what ended later is looked for, and remembered.
    """

    answers: Answers
    since: datetime = BEGINNING
    _from: datetime = BEGINNING
    _newest: datetime = BEGINNING
    _looked: datetime = BEGINNING
    _answered: dict[_Key, datetime] = field(default_factory=dict)
    _open: dict[_Key, _Open] = field(default_factory=dict)

    async def follow(self) -> None:
        """Go on until cancelled; what fails is tried again."""
        trouble = ""
        while True:
            heed_cancel()
            try:
                if self.since == BEGINNING:
                    self.since = self._from = self._newest = await self._last_time()
                await self._look(datetime.now(UTC))
                trouble = ""
            except KaiAirflowError as error:
                if str(error) != trouble:
                    log.warning("replies wait: %s", error)
                trouble = str(error)
            await asyncio.sleep(FAILED if trouble else POLL)

    async def _look(self, now: datetime) -> None:
        long = now - self._looked > LONG_LOOK
        for one in list(self._open.values()):
            await self._answer(one.run)
        since = self._from if long else max(self._from, self._newest - SOON)
        async for run in self.answers.airflow.ended(PREFIX, since.isoformat()):
            # An end in the future is that of a clock which is ahead: by the others, there are earlier ones to come.
            self._newest = max(self._newest, min(_end(run), now))
            if _key(run) not in self._answered and _key(run) not in self._open:
                await self._answer(run)
        if long:
            self._looked = now
            await self._advance()

    async def _answer(self, run: Run) -> None:
        """Answer it, or keep it for the next look."""
        key, now = _key(run), datetime.now(UTC)
        given = await self._given(run)
        tried = self._open.setdefault(key, _Open(run, now)).tried
        patience = PATIENCE if run.dag_id in self.answers.workflows else UNKNOWN
        if not given and now - tried > patience:
            log.error("run %s of %s stays without an answer", run.run_id, run.dag_id)
        if given or now - tried > patience:
            del self._open[key]
            self._answered[key] = _end(run)

    async def _given(self, run: Run) -> bool:
        try:
            return await self.answers.give(run)
        except Exception as error:
            if _key(run) not in self._open:  # once
                defect = None if isinstance(error, KaiAirflowError) else error
                log.warning("run %s of %s can't be answered yet: %s", run.run_id, run.dag_id, error, exc_info=defect)
            return False

    async def _advance(self) -> None:
        """All before the first that is open is answered, but for what may still show."""
        self._from = max(self._from, self._newest - LATE)
        self._answered = {key: end for key, end in self._answered.items() if end >= self._from}
        since = min([self._from, *(_end(one.run) for one in self._open.values())])
        if since > self.since:
            self.since = since
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
                return datetime.fromisoformat((entry.value or b"").decode())
            except (KeyNotFoundError, KeyDeletedError, ValueError):  # there is none, or no bridge has written it
                return BEGINNING + LATE

    async def _note(self) -> None:
        with translated(f"write to bucket {BUCKET}"):
            await (await self._bucket()).put(self._key, self.since.isoformat().encode())


def _key(run: Run) -> _Key:
    return run.dag_id, run.run_id, run.end


def _end(run: Run) -> datetime:
    return datetime.fromisoformat(run.end) if run.end else datetime.now(UTC)
