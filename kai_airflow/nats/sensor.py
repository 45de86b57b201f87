"""A task that waits for a message."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.configuration import conf

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.errors import MessagingError
from kai_airflow.nats.address import DEFAULT_CONN_ID
from kai_airflow.nats.consumer import ACK_WAIT, Source, acked, opened, received_within
from kai_airflow.nats.hook import NatsHook
from kai_airflow.nats.messages import as_json
from kai_airflow.nats.trigger import NatsMessageTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

_KEY = "kai_airflow_message"
_LOOK = 1.0  # seconds that one look takes where there is no message


class NatsMessageSensor(BaseSensorOperator):
    """Waits for a message of a stream and takes it: at least once.

    The XCom is the message: ``stream``, ``sequence``, ``subject``, ``headers``, ``data`` (``messages.as_json``).

    It is acked when Airflow has it in the task's state store, so that a task whose worker dies has it again at its next
    try. What dies before that leaves it unacked: it comes again after ``ack_wait``, to whoever waits then. Where only
    the ack was lost, two runs get the same message; stream and sequence tell. A cleared task waits for another one.

    :param stream: the stream
    :param durable: its consumer, made where it is missing; sensors with the same share its messages
    :param subject: only messages of this subject, for a consumer that is made
    :param ack_wait: for a consumer that is made: seconds after which a message comes again. Longer than a task waits
        for a worker
    :param deferrable: wait in the triggerer, where it takes no worker's place
    :param nats_conn_id: the Airflow connection
    """

    template_fields = ("stream", "durable", "subject")
    ui_color = "#e3f0fb"

    def __init__(
        self,
        *,
        stream: str,
        durable: str,
        subject: str = "",
        ack_wait: float = ACK_WAIT,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        nats_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.durable = durable
        self.subject = subject
        self.ack_wait = ack_wait
        self.deferrable = deferrable
        self.nats_conn_id = nats_conn_id

    def execute(self, context: Context) -> Any:
        """The message that an earlier try took, or the next."""
        if kept := _kept(context):
            return self._taken(context, kept)
        if not self.deferrable:
            return super().execute(context)
        if found := asyncio.run(self._found()):
            return self._taken(context, found)
        return self._deferred()

    def _deferred(self) -> None:
        trigger = NatsMessageTrigger(**asdict(self._source()), nats_conn_id=self.nats_conn_id)
        self.defer(trigger=trigger, method_name=self.resume.__name__, timeout=timedelta(seconds=self.timeout))

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Take the message that the triggerer found."""
        if "error" in event:
            raise KaiAirflowError(event["error"])
        return self._taken(context, event)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once."""
        found = asyncio.run(self._found())
        return PokeReturnValue(True, xcom_value=self._taken(context, found)) if found else False

    def _source(self) -> Source:
        return Source(self.stream, self.durable, self.subject, self.ack_wait)

    async def _found(self) -> dict[str, Any] | None:
        async with NatsHook(self.nats_conn_id).get_conn() as connection:
            subscription = await opened(connection, self._source())
            message = await received_within(connection, subscription, _LOOK)
        return {"message": as_json(message), "ack": message.reply} if message else None

    def _taken(self, context: Context, found: Mapping[str, Any]) -> Any:
        """Keep it for the next tries, then ack it."""
        kept = {"message": found["message"], "ack": found["ack"], "clears": _clears(context)}
        context["task_state_store"].set(_KEY, kept)
        try:
            asyncio.run(self._acked(found["ack"]))
        except MessagingError as error:  # failing here would have the next try wait for a message that may be acked
            self.log.warning("%s The message may come again.", error)
        return found["message"]

    async def _acked(self, reply: str) -> None:
        async with NatsHook(self.nats_conn_id).get_conn() as connection:
            await acked(connection, reply)


def _kept(context: Context) -> dict[str, Any] | None:
    kept: Any = context["task_state_store"].get(_KEY)
    return kept if kept and kept["clears"] == _clears(context) else None


def _clears(context: Context) -> int:
    return context["dag_run"].clear_number or 0
