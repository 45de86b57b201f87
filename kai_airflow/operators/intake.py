"""The task of a trigger: it hands the run's request to the run. No pod."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kai_airflow.messaging import codec
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import MessageTooLargeError, PayloadError
from kai_airflow.messaging.feed import publish_first
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Manifest, Try
from kai_airflow.operators.connections import nats_address
from kai_airflow.operators.requests import ConfError, RunFacts, Trigger, request_of
from kai_airflow.operators.xcoms import push_manifest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kai_airflow.messaging.connection import NatsAddress
    from kai_airflow.operators.requests import Request
    from kai_airflow.plan import Process, Workflow

_SCHEDULED = ("scheduled", "backfill")


class IntakeOperator(BaseOperator):
    """Takes the run's request and publishes it in the run's stream, as the trigger would.

    Without a given one, the request's id is made of the run's id: a cleared run repeats its request.
    """

    # What a KRT or a message says is data: nothing here is ever rendered as a template.
    template_fields = ()
    ui_color = "#e8f7e4"

    def __init__(self, *, workflow: Workflow, process: Process, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.process = process

    def execute(self, context: Context) -> None:
        """Publish, and leave the manifest; skip where the run's request is another trigger's."""
        self._refuse_streaming()
        request = self._request(context)
        if request.trigger != self.process.name:
            raise AirflowSkipException(f"this run's request is for the trigger {request.trigger!r}")
        of = Try(self.workflow.run_stream, str(context["ti"].id), self.process.name)
        sequence = self._published(of, request)
        self.log.info("request %s is message %d of %s", request.request_id, sequence, of.stream)
        push_manifest(context, _manifest(of, sequence))

    def _refuse_streaming(self) -> None:
        if self.workflow.mode == "stream":
            raise AirflowFailException(
                f"workflow {self.workflow.name!r} streams: its processes are long-lived, which this version can't run. "
                "Remedy: to run them as tasks instead, set x-airflow: {mode: batch} in the workflow."
            )

    def _request(self, context: Context) -> Request:
        run = context["dag_run"]
        facts = RunFacts(
            dag_id=run.dag_id,
            run_id=run.run_id,
            scheduled=run.run_type in _SCHEDULED,
            data_interval_start=run.data_interval_start,
            data_interval_end=run.data_interval_end,
            logical_date=run.logical_date,
        )
        keeper = self.workflow.keeper
        triggers = [Trigger(p.name, p.config, keeps_time=p.name == keeper) for p in self.workflow.triggers]
        try:
            return request_of(facts, run.conf or {}, triggers)
        except ConfError as error:
            # The same conf would fail the same way: no retry.
            raise AirflowFailException(str(error)) from error

    def _published(self, of: Try, request: Request) -> int:
        try:
            return asyncio.run(self._publish(nats_address(), of, request))
        except (PayloadError, MessageTooLargeError) as error:
            raise AirflowFailException(f"conf.payload: {error}") from error

    async def _publish(self, address: NatsAddress, of: Try, request: Request) -> int:
        message = codec.Message(
            request_id=request.request_id, payload=codec.pack(request.payload), from_node=of.process
        )
        async with connect(address, name=f"kai-airflow {self.dag_id} {self.task_id}") as connection:
            await ensure_run_stream(connection.js, of.stream)
            return await publish_first(connection, of, message)


def _manifest(of: Try, sequence: int) -> Manifest:
    return Manifest(
        stream=of.stream,
        process=of.process,
        fed=1,
        good=1,
        bad=0,
        channels={"": {of.id: (sequence,)}},
    )
