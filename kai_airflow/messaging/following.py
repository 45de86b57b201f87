"""Messages of a stream as it holds them, many at a time, whatever breaks meanwhile: each once, in their order.

They come through a consumer that is made for it, acks nothing and is gone afterwards. Where the connection breaks, or
the server forgets that consumer, another one goes on behind the last message.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kai_airflow.messaging.errors import (
    MessagingError,
    NatsUnavailableError,
    NoConsumerError,
    NoStreamError,
    SilentError,
    translated,
)
from kai_airflow.messaging.pull import ANSWER, pulling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from datetime import datetime

    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.pull import Delivery

BATCH = 1000  # messages that are asked for at once
FORGOTTEN = 60.0  # seconds without a question after which the server removes such a consumer by itself
PAUSE = 1.0  # seconds until a server that didn't answer is asked again


@dataclass
class Reader:
    """Messages on some subjects, which may be filters, behind the sequence ``after``, or from ``since`` on.

    :param bare: without their data
    """

    connection: Connection
    stream: str
    subjects: Sequence[str]
    after: int = 0
    since: datetime | None = None
    bare: bool = False

    async def kept(self) -> AsyncGenerator[Delivery, None]:
        """What the stream holds now.

        :raises NoStreamError: there is no such stream
        :raises MessagingError: NATS doesn't answer, or refuses
        """
        while True:
            async with self._consumer() as consumer:
                if not consumer.num_pending:
                    return
                async with aclosing(self._given(consumer.name, ANSWER)) as given:
                    async for one in given:
                        yield one
                        if not one.left:
                            return

    async def coming(self) -> AsyncGenerator[Delivery, None]:
        """What it holds, and all that is published then; an outage is waited out. Raises NoStreamError."""
        while True:
            try:
                async with self._consumer() as consumer, aclosing(self._given(consumer.name, None)) as given:
                    async for one in given:
                        yield one
            except NatsUnavailableError:
                await asyncio.sleep(PAUSE)

    async def _given(self, consumer: str, patience: float | None) -> AsyncGenerator[Delivery, None]:
        """What a consumer gives, until it is silent or gone, or something of it got lost."""
        number = 0
        async with pulling(self.connection, self.stream, consumer) as pull:
            while True:
                try:
                    async with asyncio.timeout(patience):
                        batch = await pull.batch(BATCH)
                except (TimeoutError, NoConsumerError, SilentError):
                    return
                for one in batch:
                    number += 1
                    if one.number != number:
                        return
                    self.after = one.sequence
                    yield one

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[ConsumerInfo]:
        info = await self._made()
        try:
            yield info
        finally:
            if self.connection.nc.is_connected:
                with suppress(MessagingError), translated(f"remove consumer {info.name}"):
                    await self.connection.js.delete_consumer(self.stream, info.name)

    async def _made(self) -> ConsumerInfo:
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            filter_subjects=list(self.subjects),
            headers_only=self.bare,
            inactive_threshold=FORGOTTEN,
            mem_storage=True,
            num_replicas=1,
            deliver_policy=self._begin(),
            opt_start_seq=self.after + 1 if self.after else None,
            opt_start_time=None if self.after else self.since,
        )
        with translated(f"read stream {self.stream}"):
            try:
                info: ConsumerInfo = await self.connection.js.add_consumer(self.stream, config)
            except NotFoundError as error:
                raise NoStreamError(self.stream) from error
        return info

    def _begin(self) -> DeliverPolicy:
        if self.after:
            return DeliverPolicy.BY_START_SEQUENCE
        return DeliverPolicy.BY_START_TIME if self.since else DeliverPolicy.ALL
