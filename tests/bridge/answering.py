"""Runs that have ended, as their tasks would have left them, and what went back to who asked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from kai_airflow.bridge.runs.replies import Answers
from kai_airflow.messaging import codec
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.reading import messages, microseconds
from kai_airflow.messaging.tries import Manifest, Try
from kai_airflow.plan import names
from tests.bridge.parts import STREAM, WORKFLOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kai_airflow.bridge.client import Airflow, Run
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow
    from tests.bridge.airflow_stub import AirflowStub, StubRun

# A message of an exit, and the channel that it was published on.
Output = tuple[codec.Message, str]


def answers_of(connection: Connection, airflow: Airflow, workflow: Workflow = WORKFLOW) -> Answers:
    return Answers(connection, airflow, {workflow.dag_id: workflow})


async def asked(connection: Connection, *request_ids: str, trigger: str = "first") -> Origin:
    """Messages with these ids, and where they stand."""
    subject = names.output_subject(STREAM, trigger)
    sequences = []
    for one in request_ids:
        data = codec.encode(codec.Message(one, codec.pack(1), from_node=trigger), 1 << 20)
        sequences.append((await connection.js.publish(subject, data)).seq)
    info = await connection.js.stream_info(STREAM)
    assert info.created is not None
    first = await connection.js.get_msg(STREAM, sequences[0])
    created = info.created.strftime("%Y%m%dT%H%M%S%fZ")
    return Origin(STREAM, created, trigger, tuple(sequences), microseconds(first.time))


def out(request_id: str, value: object = "result", channel: str = "", **more: object) -> Output:
    return codec.Message(request_id, codec.pack(value), from_node="out", **more), channel  # type: ignore[arg-type]


async def left(connection: Connection, run: StubRun, process: str, outputs: Sequence[Output]) -> Manifest:
    """Have a task of a run publish, and leave its manifest."""
    of = Try(WORKFLOW.run_stream, str(uuid.uuid4()), process)
    channels: dict[str, dict[str, tuple[int, ...]]] = {}
    for message, channel in outputs:
        data = codec.encode(message, connection.max_payload)
        sequence = (await connection.js.publish(of.subject(channel), data)).seq
        before = channels.setdefault(channel, {}).get(of.id, ())
        channels[channel][of.id] = (*before, sequence)
    manifest = Manifest(of.stream, process, len(outputs), len(outputs), 0, channels)
    run.xcoms[process, "manifest"] = manifest.to_json()
    return manifest


async def ended(
    connection: Connection, stub: AirflowStub, origin: Origin, outputs: Sequence[Output], state: str = "success"
) -> StubRun:
    """A run of the bridge that has ended; exit ``out`` published these."""
    run = stub.add(origin.run_id, origin.to_conf())
    await left(connection, run, "out", outputs)
    tasks = {"first": "success", "second": "skipped", "work": "success", "out": "success", "also": "skipped"}
    stub.end(run, state, **tasks)
    return run


async def seen(airflow: Airflow, run: StubRun) -> Run:
    """The run as the bridge sees it."""
    found = await airflow.run(run.dag_id, run.run_id)
    assert found is not None
    return found


async def replies(connection: Connection, exit_: str = "out") -> list[tuple[str, codec.Message]]:
    """What has gone back so far: the channel and the message."""
    subject = names.output_subject(STREAM, exit_)
    bare = [raw async for raw in messages(connection, STREAM, subject)]
    channels = [raw async for raw in messages(connection, STREAM, f"{subject}.>")]
    in_order = sorted([*bare, *channels], key=lambda raw: raw.seq or 0)
    return [((raw.subject or "")[len(subject) + 1 :], codec.decode(raw.data or b"")) for raw in in_order]


async def ids(connection: Connection, exit_: str = "out") -> list[str]:
    return [message.request_id for _, message in await replies(connection, exit_)]
