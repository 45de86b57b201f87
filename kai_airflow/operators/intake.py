"""The task of a trigger: it hands the run's request to the run. No pod."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kai_airflow.messaging import codec
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import ExpiredError, MessageTooLargeError, OriginError, PayloadError
from kai_airflow.messaging.feed import hand_over, publish_first
from kai_airflow.messaging.origin import Origin, is_origin
from kai_airflow.messaging.streams import ensure_run_stream
from kai_airflow.messaging.tries import Manifest, Try
from kai_airflow.operators.connections import nats_address
from kai_airflow.operators.links import MessagesLink
from kai_airflow.operators.requests import ConfError, RunFacts, Trigger, request_of
from kai_airflow.operators.settings import retention
from kai_airflow.operators.xcoms import push_manifest
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kai_airflow.messaging.address import NatsAddress
    from kai_airflow.operators.requests import Request
    from kai_airflow.plan import Process, Workflow

_SCHEDULED = ("scheduled", "backfill")


class IntakeOperator(BaseOperator):
    """Takes the run's requests and publishes them in the run's stream, as the trigger would.

    Those of a run that the bridge started stand in KAI's stream: its conf says where. Any other run has one, in its
    conf or made of its schedule; without a given one, its id is made of the run's: a cleared run repeats its request.
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
        """Publish, and leave the manifest; skip where the run's request is another trigger's."""
        of = Try(self.workflow.run_stream, str(context["ti"].id), self.process.name)
        conf = context["dag_run"].conf or {}
        channels = self._hand_over(of, conf) if is_origin(conf) else self._take(context, of)
        push_manifest(context, _manifest(of, channels))

    def _take(self, context: Context, of: Try) -> dict[str, list[int]]:
        """The one request that the conf holds, or the schedule makes."""
        request = requested(context, self.workflow)
        self._require_own(request.trigger)
        sequence = self._published(of, request)
        self.log.info("request %s is message %d of %s", request.request_id, sequence, of.stream)
        return {"": [sequence]}

    def _hand_over(self, of: Try, conf: Mapping[str, Any]) -> dict[str, list[int]]:
        """The requests that the conf names."""
        try:
            origin = Origin.from_conf(conf)
        except OriginError as error:
            raise AirflowFailException(str(error)) from error
        if origin.trigger not in [trigger.name for trigger in self.workflow.triggers]:
            raise AirflowFailException(f"conf.trigger: {self.dag_id} has no trigger {origin.trigger!r} (any more).")
        own = names.versions_of(self.workflow.live_stream, self.workflow.version)
        if origin.stream != self.workflow.live_stream and not own.fullmatch(origin.stream):
            # Who may start runs of this DAG may not read what another product was asked.
            raise AirflowFailException(f"conf.stream: {origin.stream!r} holds no messages of {self.dag_id}.")
        self._require_own(origin.trigger)
        self.log.info("%d request(s): %s of %s", len(origin.sequences), conf["sequences"], origin.stream)
        try:
            return asyncio.run(self._copied(nats_address(), of, origin))
        except ExpiredError as error:
            # The same messages would be missing the next time.
            raise AirflowFailException(str(error)) from error

    async def _copied(self, address: NatsAddress, of: Try, origin: Origin) -> dict[str, list[int]]:
        async with connect(address, name=f"kai-airflow {self.dag_id} {self.task_id}") as connection:
            await ensure_run_stream(connection.js, of.stream, retention())
            return await hand_over(connection, of, origin)

    def _require_own(self, trigger: str) -> None:
        if trigger != self.process.name:
            raise AirflowSkipException(f"this run's request is for the trigger {trigger!r}")

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
            await ensure_run_stream(connection.js, of.stream, retention())
            return await publish_first(connection, of, message)


def requested(context: Context, workflow: Workflow) -> Request:
    """The one request that a run's conf holds, or its schedule makes.

    :raises AirflowFailException: the conf asks for what can't be done; the next try would find the same
    """
    run = context["dag_run"]
    facts = RunFacts(
        dag_id=run.dag_id,
        run_id=run.run_id,
        scheduled=run.run_type in _SCHEDULED,
        data_interval_start=run.data_interval_start,
        data_interval_end=run.data_interval_end,
        logical_date=run.logical_date,
    )
    triggers = [Trigger(p.name, p.config, keeps_time=p.name == workflow.keeper) for p in workflow.triggers]
    try:
        return request_of(facts, run.conf or {}, triggers)
    except ConfError as error:
        raise AirflowFailException(str(error)) from error


def _manifest(of: Try, channels: Mapping[str, Sequence[int]]) -> Manifest:
    count = sum(map(len, channels.values()))
    return Manifest(
        stream=of.stream,
        process=of.process,
        fed=count,
        good=count,
        bad=0,
        channels={name: {of.id: tuple(sequences)} for name, sequences in channels.items()},
    )
