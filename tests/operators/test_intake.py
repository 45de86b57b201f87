"""The task of a trigger, on a real nats-server: it takes what the run's conf says, or says why it can't."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kai_airflow import krt
from kai_airflow.messaging import codec
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.streams import ensure_live_stream
from kai_airflow.messaging.tries import Manifest
from kai_airflow.operators import intake
from kai_airflow.operators.intake import IntakeOperator
from kai_airflow.plan import compile_product, names

if TYPE_CHECKING:
    from airflow.sdk import Context

    from tests.conftest import NatsServer

LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"
KRT = f"""version: v1.0.0
description: text
workflows:
  - name: train
    type: training
    processes:
      - {{name: first, type: trigger, image: i, {LIMITS}}}
      - {{name: second, type: trigger, image: i, {LIMITS}}}
      - {{name: out, type: exit, image: i, {LIMITS}, subscriptions: [first, second]}}
"""
WORKFLOW = compile_product(krt.check(KRT.encode(), PurePath("shop/krt.yaml")).require()).workflows[0]
STREAM = WORKFLOW.live_stream


@dataclass
class Ti:
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@dataclass
class Run:
    conf: Any
    dag_id: str = "shop.train"
    run_id: str = "kai__x__1"
    run_type: str = "manual"
    data_interval_start: None = None
    data_interval_end: None = None
    logical_date: datetime = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nats(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> NatsServer:
    monkeypatch.setattr(intake, "nats_address", lambda: NatsAddress(nats_server.url))
    return nats_server


def taken(conf: Any, trigger: str = "first") -> Manifest:
    """What the task leaves."""
    (process,) = [one for one in WORKFLOW.triggers if one.name == trigger]
    ti = Ti()
    IntakeOperator(task_id=trigger, workflow=WORKFLOW, process=process).execute(
        cast("Context", {"ti": ti, "dag_run": Run(conf)})
    )
    return Manifest.from_json(ti.xcoms["manifest"])


def asked(server: NatsServer, *channels: str, trigger: str = "first") -> Origin:
    """Messages of a trigger."""

    async def publish() -> Origin:
        async with connect(server.url, name="test") as connection:
            moment = await ensure_live_stream(connection, STREAM, ["first", "second"])
            subject, sequences = names.output_subject(STREAM, trigger), []
            for n, channel in enumerate(channels):
                data = codec.encode(codec.Message(f"r{n}", codec.pack(n)), 1 << 20)
                ack = await connection.js.publish(f"{subject}.{channel}" if channel else subject, data)
                sequences.append(ack.seq)
            return Origin(STREAM, moment, trigger, tuple(sequences), 1)

    return asyncio.run(publish())


def read(server: NatsServer, manifest: Manifest) -> list[codec.Message]:
    async def messages() -> list[codec.Message]:
        async with connect(server.url, name="test") as connection:
            raw = [await connection.js.get_msg(manifest.stream, n) for n in manifest.sequences]
            return [codec.decode(one.data or b"") for one in raw]

    return asyncio.run(messages())


def delete(server: NatsServer, sequence: int | None = None) -> None:
    """A message, or the stream."""

    async def work() -> None:
        async with connect(server.url, name="test") as connection:
            if sequence is None:
                await connection.js.delete_stream(STREAM)
            else:
                await connection.js.delete_msg(STREAM, sequence)

    asyncio.run(work())


def test_the_messages_that_a_conf_names_are_the_runs(nats: NatsServer) -> None:
    origin = asked(nats, "", "go", "")
    manifest = taken({**origin.to_conf(), "request_ids": ["r0", "r1", "r2"], "preview": "0"})
    assert (manifest.stream, manifest.process, manifest.fed, manifest.good, manifest.bad) == (
        WORKFLOW.run_stream,
        "first",
        3,
        3,
        0,
    )
    counts = {channel: sum(map(len, tries.values())) for channel, tries in manifest.channels.items()}
    assert counts == {"": 2, "go": 1}
    assert [one.request_id for one in read(nats, manifest)] == ["r0", "r1", "r2"]


def test_a_cleared_run_takes_the_same_again(nats: NatsServer) -> None:
    conf = asked(nats, "", "go").to_conf()
    assert read(nats, taken(conf)) == read(nats, taken(conf))


def test_the_messages_of_another_trigger_are_skipped(nats: NatsServer) -> None:
    conf = asked(nats, "", trigger="second").to_conf()
    with pytest.raises(AirflowSkipException, match="for the trigger 'second'"):
        taken(conf)
    assert taken(conf, "second").good == 1


def test_a_trigger_that_is_gone_fails_for_good(nats: NatsServer) -> None:
    conf = {**asked(nats, "").to_conf(), "trigger": "third"}
    with pytest.raises(AirflowFailException, match="no trigger 'third'"):
        taken(conf)


@pytest.mark.parametrize(
    "change", [{"sequences": ""}, {"sequences": "1-99999999999"}, {"published": "x"}, {"stream": 1}, {"trigger": None}]
)
def test_a_conf_that_nobody_can_read_fails_for_good_with_a_remedy(nats: NatsServer, change: dict[str, Any]) -> None:
    conf = {**asked(nats, "").to_conf(), **change}
    with pytest.raises(AirflowFailException, match="Remedy"):
        taken(conf)


def test_a_message_that_has_expired_fails_for_good_and_is_never_skipped(nats: NatsServer) -> None:
    origin = asked(nats, "", "", "")
    delete(nats, 2)
    with pytest.raises(AirflowFailException, match=r"no longer holds message 2"):
        taken(origin.to_conf())


def test_a_stream_that_was_made_anew_fails_for_good(nats: NatsServer) -> None:
    old = asked(nats, "")
    delete(nats)
    asked(nats, "")
    with pytest.raises(AirflowFailException, match="no longer holds message 1"):
        taken(old.to_conf())


@pytest.mark.parametrize("stream", ["no such.stream", "", "*", "x" * 300, "RUNS_shop_train", "other_v1_0_0_train"])
def test_a_conf_that_names_another_stream_fails(nats: NatsServer, stream: str) -> None:
    """A person may write any conf; one run never reads what is another product's."""
    origin = asked(nats, "")
    with pytest.raises(AirflowFailException):
        taken({**origin.to_conf(), "stream": stream})


def test_a_conf_without_messages_is_a_persons(nats: NatsServer) -> None:
    manifest = taken({"trigger": "first", "payload": {"sequences": "1"}})
    (message,) = read(nats, manifest)
    assert codec.unpack(message.payload) == {"sequences": "1"}
