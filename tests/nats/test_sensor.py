"""The sensor, on a real nats-server. Airflow's part of a try is the state store and how often the run was cleared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.errors import JetStreamError
from kai_airflow.nats import sensor as module
from kai_airflow.nats.sensor import NatsMessageSensor
from kai_airflow.nats.trigger import NatsMessageTrigger
from tests.nats.conftest import STREAM

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer


@dataclass
class Run:
    """A task's run over several tries."""

    clear_number: int = 0
    store: dict[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return cast("Context", {"task_state_store": self, "dag_run": self})

    def get(self, key: str) -> Any:
        return self.store.get(key)

    def set(self, key: str, value: Any) -> None:
        self.store[key] = value


def sensor(**arguments: Any) -> NatsMessageSensor:
    given: dict[str, Any] = {"stream": STREAM, "durable": "airflow", "poke_interval": 0, "timeout": 0, **arguments}
    return NatsMessageSensor(task_id="wait", **given)


async def executed(waiting: NatsMessageSensor, run: Run) -> Any:
    return await asyncio.to_thread(waiting.execute, run.context)


async def unacked(connection: Connection) -> int:
    return (await connection.js.consumer_info(STREAM, "airflow")).num_ack_pending or 0


@pytest.fixture(autouse=True)
async def _stream(known_server: NatsServer, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    await connection.js.add_stream(name=STREAM, subjects=["orders.>"])
    monkeypatch.setattr(module, "_LOOK", 0.2)


@pytest.mark.parametrize("deferrable", [True, False])
async def test_a_message_that_is_there_is_taken_and_acked(connection: Connection, deferrable: bool) -> None:
    await connection.js.publish("orders.new", b'{"id": 7}')
    message = await executed(sensor(deferrable=deferrable), Run())
    assert (message["data"], message["sequence"], message["subject"]) == ({"id": 7}, 1, "orders.new")
    assert await unacked(connection) == 0


async def test_each_run_gets_another_message(connection: Connection) -> None:
    for text in (b"one", b"two"):
        await connection.js.publish("orders.new", text)
    assert [(await executed(sensor(), Run()))["data"] for _ in range(2)] == ["one", "two"]


async def test_only_messages_of_its_subject_are_taken(connection: Connection) -> None:
    await connection.js.publish("orders.old", b"other")
    await connection.js.publish("orders.new", b"own")
    assert (await executed(sensor(subject="orders.new"), Run()))["data"] == "own"


async def test_a_try_after_a_worker_that_died_has_the_same_message(connection: Connection) -> None:
    await connection.js.publish("orders.new", b"first")
    run = Run()
    first = await executed(sensor(), run)
    await connection.js.publish("orders.new", b"second")
    assert await executed(sensor(), run) == first
    run.clear_number = 1  # a person wants another one
    assert (await executed(sensor(), run))["data"] == "second"


async def test_a_message_that_the_state_store_did_not_take_comes_again(connection: Connection) -> None:
    await connection.js.publish("orders.new", b"x")

    class Broken(Run):
        def set(self, _key: str, _value: Any) -> None:
            raise OSError("the worker dies")

    with pytest.raises(OSError, match="dies"):
        await executed(sensor(ack_wait=1), Broken())
    assert await unacked(connection) == 1
    again = await executed(sensor(deferrable=False, timeout=20), Run())
    assert again["data"] == "x"


async def test_it_waits_in_the_triggerer_and_takes_what_that_found(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, run = sensor(deferrable=True, timeout=60, subject="orders.new"), Run()
    with pytest.raises(TaskDeferred) as deferred:
        await executed(waiting, run)
    trigger = deferred.value.trigger
    assert isinstance(trigger, NatsMessageTrigger)
    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 60
    await connection.js.publish("orders.new", b"x")
    monkeypatch.setattr("kai_airflow.nats.trigger._SOONEST", 0)
    event = await anext(trigger.run())
    assert await unacked(connection) == 1
    message = await asyncio.to_thread(getattr(waiting, deferred.value.method_name), run.context, event.payload)
    assert message["data"] == "x"
    assert await unacked(connection) == 0


async def test_it_succeeds_where_only_the_ack_is_lost(
    connection: Connection, known_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await connection.js.publish("orders.new", b"x")
    waiting, run = sensor(), Run()
    known_server.stop()
    event = {"message": {"data": "x"}, "ack": "$JS.ACK.x"}
    assert await asyncio.to_thread(waiting.resume, run.context, event) == {"data": "x"}
    assert "The message may come again" in capsys.readouterr().out


async def test_what_the_triggerer_could_not_do_fails_the_task() -> None:
    with pytest.raises(KaiAirflowError, match="no such thing"):
        sensor().resume(Run().context, {"error": "no such thing"})


async def test_without_a_message_it_ends_at_its_timeout() -> None:
    with pytest.raises(AirflowSensorTimeout):
        await executed(sensor(deferrable=False), Run())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"stream": "GONE"}, r"stream not found\. Remedy: create the stream"),
        ({"durable": "pushing"}, r"it pushes its messages\. Remedy: name another durable"),
        ({"durable": "silent"}, r"aren't acked one by one\. Remedy"),
        ({"durable": "old", "subject": "orders.new"}, r"it delivers orders\.old, not orders\.new\. Remedy"),
    ],
)
async def test_a_consumer_that_delivers_otherwise_is_an_error(
    connection: Connection, arguments: dict[str, str], said: str
) -> None:
    add = connection.js.add_consumer
    await add(STREAM, durable_name="pushing", deliver_subject="somewhere")
    await add(STREAM, durable_name="silent", ack_policy="none")
    await add(STREAM, durable_name="old", ack_policy="explicit", filter_subject="orders.old")
    with pytest.raises(JetStreamError, match=said):
        await executed(sensor(**arguments), Run())
