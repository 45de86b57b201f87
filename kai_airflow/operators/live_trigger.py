"""The task of a streaming workflow's trigger: it sends the run's request into the live processes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging import codec
from kai_airflow.messaging.asking import last_of, send, sent
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.consumers import missing_inputs
from kai_airflow.messaging.errors import MessageTooLargeError, NatsUnavailableError, PayloadError
from kai_airflow.messaging.hop import LIVE
from kai_airflow.messaging.origin import is_origin
from kai_airflow.messaging.streams import created, largest
from kai_airflow.messaging.tries import Manifest
from kai_airflow.operators import interruptible
from kai_airflow.operators.attempt import START_TIMEOUT
from kai_airflow.operators.connections import nats_address
from kai_airflow.operators.intake import requested
from kai_airflow.operators.links import MessagesLink
from kai_airflow.operators.xcoms import push_manifest
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.operators.requests import Request
    from kai_airflow.plan import Process, Workflow

_SENT = "kai_airflow_sent"
_LOOK_SECONDS = 1.0


class NobodyListensError(KaiAirflowError):
    """Processes that nobody has made ready to get a request."""


class LiveTriggerOperator(BaseOperator):
    """Publishes the run's request as the trigger would, once, when the processes' consumers are there.

    A consumer delivers what is new: what is published before it is made, its process never gets.

    A run that was cleared sends its request again, under the same id. A try that follows one that broke doesn't: where
    the stream's end was before the first try stands in Airflow's state store of the task, and what was sent is found
    behind it.
    """

    # What a KRT or a message says is data: nothing here is ever rendered as a template.
    template_fields = ()
    operator_extra_links = (MessagesLink(),)
    ui_color = "#e8f7e4"

    def __init__(self, *, workflow: Workflow, process: Process, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.process = process

    def execute(self, context: Context) -> None:
        """Send the request, and leave the manifest; skip where the request is another trigger's.

        :raises AirflowFailException: the run's conf asks for what can't be done
        :raises KaiAirflowError: the processes' consumers weren't there in time, or NATS failed
        """
        conf = context["dag_run"].conf or {}
        if is_origin(conf):
            raise AirflowFailException(
                "conf.sequences: messages of a streaming workflow are handled as they come, not by runs. "
                "Remedy: give the request's data as conf.payload."
            )
        request = requested(context, self.workflow)
        if request.trigger != self.process.name:
            raise AirflowSkipException(f"this run's request is for the trigger {request.trigger!r}")
        sequence = interruptible.run(self._sent(context, request))
        self.log.info("request %s is message %d of %s", request.request_id, sequence, self.workflow.live_stream)
        push_manifest(context, _manifest(self.workflow, self.process, sequence))

    async def _sent(self, context: Context, request: Request) -> int:
        async with connect(nats_address(), name=f"kai-airflow {self.dag_id} {self.task_id}") as connection:
            data = self._encoded(connection, request)
            await self._wait_for_consumers(connection)
            return await self._send_once(connection, context, data)

    def _encoded(self, connection: Connection, request: Request) -> bytes:
        try:
            payload = codec.pack(request.payload)
            return codec.encode(
                codec.Message(request.request_id, payload, from_node=self.process.name), largest(connection)
            )
        except (PayloadError, MessageTooLargeError) as error:
            raise AirflowFailException(f"conf.payload: {error}") from error

    async def _wait_for_consumers(self, connection: Connection) -> None:
        seconds = self.process.start_timeout or START_TIMEOUT
        deadline, said = time.monotonic() + seconds, ""
        while why := await self._not_ready(connection):
            if time.monotonic() > deadline:
                raise NobodyListensError(
                    f"the request wasn't sent: after {seconds:g} s (start_timeout) {why}. Remedy: see that "
                    "`kai-airflow bridge` runs and reads this KRT file; its log says what keeps it."
                )
            if why != said:
                self.log.info("waiting: %s. Is `kai-airflow bridge` running?", why)
            said = why
            await asyncio.sleep(_LOOK_SECONDS)

    async def _not_ready(self, connection: Connection) -> str:
        try:
            missing = await missing_inputs(connection, self.workflow)
        except NatsUnavailableError as error:
            return str(error)
        return f"the bridge hasn't made the consumers {', '.join(missing)} yet" if missing else ""

    async def _send_once(self, connection: Connection, context: Context, data: bytes) -> int:
        stream, store = self.workflow.live_stream, context["task_state_store"]
        subject, key = names.output_subject(stream, self.process.name), _key(context)
        moment, known = await created(connection.js, stream), cast("dict[str, Any]", store.get(_SENT, {}))
        if known.get("key") == key and known.get("created") == moment:
            if sequence := await sent(connection, stream, subject, key, known["after"]):
                self.log.info("an earlier try has sent it")
                return sequence
        else:
            store.set(_SENT, {"key": key, "created": moment, "after": await last_of(connection, stream)})
        return await send(connection, stream, subject, data, key)


def _key(context: Context) -> str:
    """What a run sends once, and once more each time it is cleared."""
    run = context["dag_run"]
    return hashlib.sha256(f"{run.dag_id}\n{run.run_id}\n{run.clear_number or 0}".encode()).hexdigest()


def _manifest(workflow: Workflow, process: Process, sequence: int) -> Manifest:
    channels: Mapping[str, Any] = {"": {LIVE: (sequence,)}}
    return Manifest(workflow.live_stream, process.name, fed=1, good=1, bad=0, channels=channels)
