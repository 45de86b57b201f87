"""A task that publishes a message."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import nats.errors
import nats.js.errors
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from kai_airflow.messaging.connection import flush
from kai_airflow.messaging.errors import JetStreamError, translated
from kai_airflow.nats.address import DEFAULT_CONN_ID
from kai_airflow.nats.hook import NatsHook
from kai_airflow.nats.messages import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Context

    from kai_airflow.messaging.connection import Connection

_MSG_ID = "Nats-Msg-Id"


class NatsPublishOperator(BaseOperator):
    """Publishes one message.

    The XCom is where JetStream keeps it: ``{"stream": ..., "sequence": ..., "duplicate": ...}``; nothing without
    JetStream. A task that is tried again publishes again, unless ``msg_id`` is the same within the stream's duplicate
    window.

    :param subject: the subject
    :param payload: a text, bytes, or what is published as JSON
    :param headers: names and values
    :param jetstream: wait until a stream has the message; otherwise it goes to whoever listens at this moment
    :param msg_id: the message's id, by which the stream drops a second one; ``"{{ run_id }}"`` for once in a run
    :param nats_conn_id: the Airflow connection
    """

    template_fields = ("subject", "payload", "headers", "msg_id")
    template_fields_renderers = {"payload": "json", "headers": "json"}
    ui_color = "#e3f0fb"

    def __init__(
        self,
        *,
        subject: str,
        payload: Any,
        headers: Mapping[str, str] | None = None,
        jetstream: bool = True,
        msg_id: str | None = None,
        nats_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subject = subject
        self.payload = payload
        self.headers = headers
        self.jetstream = jetstream
        self.msg_id = msg_id
        self.nats_conn_id = nats_conn_id

    def execute(self, context: Context) -> dict[str, Any] | None:  # noqa: ARG002  # Airflow's signature
        """Publish; fails without a retry where the message can't be one."""
        with _sendable():
            data = as_bytes(self.payload)
        return asyncio.run(self._published(data))

    async def _published(self, data: bytes) -> dict[str, Any] | None:
        headers = {**(self.headers or {}), **({_MSG_ID: self.msg_id} if self.msg_id else {})}
        async with NatsHook(self.nats_conn_id).get_conn() as connection:
            if self.jetstream:
                return await self._kept(connection, data, headers)
            await self._said(connection, data, headers)
            return None

    async def _kept(self, connection: Connection, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
        with translated(f"publish on {self.subject}"), _sendable():
            try:
                ack = await connection.js.publish(self.subject, data, headers=headers or None)
            except nats.js.errors.NoStreamResponseError as error:
                raise JetStreamError(
                    f"NATS: no stream takes {self.subject}. Remedy: create one with this subject, or publish with "
                    "jetstream=False."
                ) from error
        self.log.info("message %d of stream %s%s", ack.seq, ack.stream, ", there before" if ack.duplicate else "")
        return {"stream": ack.stream, "sequence": ack.seq, "duplicate": bool(ack.duplicate)}

    async def _said(self, connection: Connection, data: bytes, headers: dict[str, str]) -> None:
        with translated(f"publish on {self.subject}"), _sendable():
            await connection.nc.publish(self.subject, data, headers=headers or None)
            await flush(connection.nc)
            if connection.nc.last_error:  # a refusal comes before the answer to the flush
                raise connection.nc.last_error


@contextmanager
def _sendable() -> Iterator[None]:
    """Fail without a retry where the same message would be refused again."""
    try:
        yield
    except (TypeError, ValueError, nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as error:
        raise AirflowFailException(f"no message for NATS: {error}. Remedy: mend subject or payload.") from error
