"""Where a process publishes: its own subject and the channels below it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_airflow.messaging.codec import Message, MessageType, Payload, encode
from kai_airflow.messaging.connection import API_ANSWER
from kai_airflow.messaging.errors import translated
from kai_airflow.messaging.publisher import publisher
from kai_airflow.process.errors import ProcessError

if TYPE_CHECKING:
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.messaging.publisher import Publisher, Publishing
    from kai_airflow.process.settings import Settings

CHANNEL = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


@dataclass(frozen=True)
class Output:
    """The output of a process, made by :func:`output`. ``limit``: bytes of a message."""

    publisher: Publisher
    process: str
    subject: str
    limit: int

    def encoded(self, request_id: str, payload: Payload, error: str | None = None) -> bytes:
        """A message of this process, of type ERROR where there is an error's text."""
        kind = MessageType.OK if error is None else MessageType.ERROR
        return encode(Message(request_id, payload, error or "", self.process, kind), self.limit)

    def on(self, channel: str) -> str:
        """The subject of a channel; "" is the process's own. Raises ProcessError where none can have this name."""
        if not channel:
            return self.subject
        if not CHANNEL.fullmatch(channel):
            raise ProcessError(f"no channel can be called {channel!r}: no spaces, *, > or empty parts between dots.")
        return f"{self.subject}.{channel}"

    async def begin(self, subject: str, data: bytes) -> Publishing:
        """Send a message off; its :meth:`Publishing.stored` waits. Raises NatsUnavailableError."""
        return await self.publisher.begin(subject, data)

    async def publish(self, subject: str, data: bytes, timeout: float = API_ANSWER) -> None:
        """Publish, and wait so many seconds at most until the stream has it. Raises MessagingError."""
        until = time.monotonic() + timeout
        publishing = await self.publisher.begin(subject, data, timeout)
        await publishing.stored(until - time.monotonic())


async def output(told: Settings, connection: Connection) -> Output:
    """That of the process that these settings are for. Raises MessagingError."""
    return Output(await publisher(connection), told.process, told.output, await largest(connection, told.stream))


async def largest(connection: Connection, stream: str) -> int:
    """KAI's limit of a message in bytes: the smaller of the server's and the stream's. Raises MessagingError."""
    with translated(f"find stream {stream}"):
        config = (await connection.js.stream_info(stream)).config
    limits = [connection.max_payload, config.max_msg_size or 0]
    return min(limit for limit in limits if limit > 0)
