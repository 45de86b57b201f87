"""One workflow on NATS: what it needs there is made, and its triggers' messages become runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from kai_airflow.bridge.live.nats_side import keep_inputs
from kai_airflow.bridge.runs.gate import Gate
from kai_airflow.bridge.runs.intake import ACK_WAIT, Intake, Source
from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.errors import NoConsumerError, StreamGoneError, translated
from kai_airflow.messaging.streams import (
    consumer_info,
    created,
    ensure_buckets,
    ensure_dead_letters,
    ensure_live_stream,
    ensure_object_store,
    ensure_run_stream,
    stream_names,
)
from kai_airflow.plan import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.site import Settings
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Process, Workflow

log = logging.getLogger(__name__)

PAUSES = (0.25, 1.0, 2.0, 5.0, 10.0)  # seconds before what failed is tried again
LONG = 60.0  # seconds of work after which a failure is a new one
IN_HAND = 20_000  # messages of a trigger that bridges may have at a time


@dataclass(frozen=True)
class Workbench:
    """What everything in a bridge works with."""

    connection: Connection
    airflow: Airflow
    settings: Settings


async def serve(bench: Workbench, workflow: Workflow) -> None:
    """Keep a workflow going until cancelled; whatever fails is tried again."""
    pauses = iter(PAUSES)
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await _serve(bench, workflow)
        except (NoConsumerError, StreamGoneError) as error:
            log.warning("%s Looking again.", error)
        except KaiAirflowError as error:
            log.warning("%s: %s", workflow.dag_id, error)
        if asyncio.get_running_loop().time() - began > LONG:
            pauses = iter(PAUSES)
        await asyncio.sleep(next(pauses, PAUSES[-1]))


async def _serve(bench: Workbench, workflow: Workflow) -> None:
    moment = await prepare(bench, workflow)
    if workflow.mode != "batch":
        await keep_inputs(bench.connection, workflow)
    gate = Gate(bench.airflow, workflow.dag_id, bench.settings.max_queued_runs)
    sources = [await _source(bench.connection, workflow.live_stream, moment, t) for t in workflow.triggers]
    sources += await _of_other_versions(bench.connection, workflow)
    intakes = [
        Intake(bench.connection, bench.airflow, gate, workflow.dag_id, source, workflow.messages_per_run)
        for source in sources
    ]
    try:
        async with asyncio.TaskGroup() as all_of_them:
            for intake in intakes:
                all_of_them.create_task(intake.work())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def prepare(bench: Workbench, workflow: Workflow) -> str:
    """Make a workflow's streams, buckets and object stores exist; gives when its live stream was made.

    :raises MessagingError: NATS doesn't answer, or refuses
    """
    connection, retention = bench.connection, bench.settings.retention
    processes = [process.name for process in workflow.processes]
    moment = await ensure_live_stream(connection, workflow.live_stream, processes, retention)
    if workflow.mode == "batch":
        await ensure_run_stream(connection.js, workflow.run_stream, retention)
        await ensure_dead_letters(connection.js, retention)
    await ensure_buckets(connection.js, _buckets(workflow.processes))
    for store in dict.fromkeys(process.object_store for process in workflow.processes if process.object_store):
        await ensure_object_store(connection.js, store)
    return moment


def _buckets(processes: Iterable[Process]) -> dict[names.Bucket, None]:
    kept = (process.buckets for process in processes)
    return dict.fromkeys(bucket for b in kept for bucket in (b.shared, b.version, b.workflow, b.process))


async def _source(connection: Connection, stream: names.Stream, moment: str, trigger: Process) -> Source:
    """A trigger's consumers, made where missing."""
    source = source_of(stream, moment, trigger.name)
    filters = [str(subject) for subject in names.live_subjects(stream, trigger.name)]
    await _ensure_consumer(connection, stream, source.messages, filters)
    await _ensure_consumer(connection, stream, source.groups, [names.groups_subject(stream, trigger.name)])
    # Between its name and its making the stream may have become another one.
    if await created(connection.js, stream) != moment:
        await _remove_consumers(connection, source)
        raise StreamGoneError(stream)
    return source


def source_of(stream: names.Stream, moment: str, trigger: str) -> Source:
    """The names of a trigger's consumers."""
    messages, groups = names.intake_consumer(trigger, moment), names.groups_consumer(trigger, moment)
    return Source(stream, moment, trigger, messages, groups)


async def _ensure_consumer(connection: Connection, stream: str, name: str, filters: list[str]) -> None:
    config = ConsumerConfig(
        durable_name=name,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_deliver=-1,
        max_ack_pending=IN_HAND,
        filter_subjects=filters,
    )
    with translated(f"make consumer {name}"):
        await connection.js.add_consumer(stream, config)


async def _remove_consumers(connection: Connection, source: Source) -> None:
    for name in (source.messages, source.groups):
        with translated(f"remove consumer {name}"):
            await connection.js.delete_consumer(source.stream, name)


async def _of_other_versions(connection: Connection, workflow: Workflow) -> list[Source]:
    """What other versions' triggers published becomes runs of this one, where a bridge took it in before.

    Where each version has a DAG of its own, each has its own messages as well.
    """
    if workflow.dag_id == names.dag_id(workflow.product, workflow.name, workflow.version):
        return []
    pattern = names.versions_of(workflow.live_stream, workflow.version)
    streams = await stream_names(connection, names.bridge_subjects(names.Stream("*")))
    others = [one for one in streams if one != workflow.live_stream and pattern.fullmatch(one)]
    return [source for stream in others for source in await _known(connection, stream, workflow)]


async def _known(connection: Connection, stream: names.Stream, workflow: Workflow) -> list[Source]:
    moment = await created(connection.js, stream)
    sources = [source_of(stream, moment, trigger.name) for trigger in workflow.triggers]
    return [one for one in sources if await consumer_info(connection.js, stream, one.messages) is not None]
