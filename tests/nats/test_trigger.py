"""What waits in the triggerer, on Airflow's own shared streams and a real nats-server."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import TriggerEvent
from airflow.triggers.shared_stream import SharedStreamManager, reject_shared_stream_event

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect
from kai_airflow.nats import trigger as module
from kai_airflow.nats.trigger import NatsMessageTrigger, NatsTrigger
from tests.conftest import DEADLINE
from tests.nats.conftest import STREAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nats.aio.subscription import Subscription

    from kai_airflow.messaging.connection import Connection
    from tests.conftest import NatsServer, StartNats

DURABLE = "airflow"
DOCS = Path(__file__).parents[2] / "docs/nats.md"
TRIGGER = NatsTrigger(stream=STREAM, durable=DURABLE, ack_wait=1)


@dataclass
class Triggerer:
    """As Airflow's: it takes the events of triggers, and says later which of them are in its database."""

    streams: SharedStreamManager = field(default_factory=SharedStreamManager)
    events: asyncio.Queue[tuple[TriggerEvent, int]] = field(default_factory=asyncio.Queue)

    async def run(self, trigger: NatsTrigger, number: int = 1) -> None:
        key = trigger.shared_stream_key()
        stream = self.streams.subscribe(trigger_id=number, trigger=trigger, key=key)
        async for event in trigger.filter_shared_stream(stream):
            bound = self.streams.bind_pending_event(trigger_id=number, key=key)
            assert bound is not None
            await self.events.put((event, bound))

    async def event(self) -> tuple[Any, int]:
        """What the next one says, and its number in the database."""
        found, bound = await asyncio.wait_for(self.events.get(), DEADLINE)
        return found.payload, bound

    def stored(self, *bound: int) -> None:
        self.streams.confirm_persisted(bound)


@asynccontextmanager
async def triggerer(*triggers: NatsTrigger) -> AsyncIterator[Triggerer]:
    """One that runs these, until it dies."""
    own = Triggerer()
    tasks = [asyncio.create_task(own.run(one, number)) for number, one in enumerate(triggers)]
    try:
        yield own
    finally:
        await own.streams.stop_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def acks(known_server: NatsServer, connection: Connection) -> Subscription:
    """A stream, and every answer to its messages from now on."""
    await connection.js.add_stream(name=STREAM, subjects=["orders.>"])
    listening = await connection.nc.subscribe(f"$JS.ACK.{STREAM}.>")
    await connection.nc.flush()
    return listening


async def unacked(connection: Connection) -> int:
    return (await connection.js.consumer_info(STREAM, DURABLE)).num_ack_pending or 0


async def test_a_message_is_acked_when_airflow_has_stored_its_event(connection: Connection, acks: Subscription) -> None:
    await connection.js.publish("orders.new", b'{"id": 7}')
    async with triggerer(TRIGGER) as own:
        event, bound = await own.event()
        assert event["data"] == {"id": 7}
        assert event["sequence"] == 1
        own.stored(bound)
        answer = await acks.next_msg(DEADLINE)
    assert answer.data == b""  # an ack
    assert await unacked(connection) == 0


async def test_without_the_event_in_the_database_nothing_is_acked_and_it_comes_again(
    connection: Connection, acks: Subscription
) -> None:
    await connection.js.publish("orders.new", b"first")
    await connection.js.publish("orders.new", b"second")
    async with triggerer(TRIGGER) as dying:
        (first, _), (second, _) = await dying.event(), await dying.event()
        assert [first["data"], second["data"]] == ["first", "second"]
        assert await unacked(connection) == 2
    assert acks.pending_msgs == 0
    async with triggerer(TRIGGER) as heir:
        again = [await heir.event(), await heir.event()]
        assert {event["sequence"] for event, _ in again} == {1, 2}
        heir.stored(*(bound for _, bound in again))
        for _ in again:
            assert (await acks.next_msg(DEADLINE)).data == b""
    assert await unacked(connection) == 0


async def test_an_event_that_airflow_gives_up_on_has_its_message_delivered_again(
    connection: Connection, acks: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.1)
    await connection.js.publish("orders.new", b"x")
    async with triggerer() as own:
        own.streams = SharedStreamManager(ack_timeout=0.1)
        with pytest.raises(Exception, match="did not finish processing event"):
            await own.run(TRIGGER)
        assert (await acks.next_msg(DEADLINE)).data.startswith(b"-NAK")
    async with triggerer(TRIGGER) as heir:
        assert (await heir.event())[0]["sequence"] == 1


class Refusing(NatsTrigger):
    """A filter of somebody's own."""

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        async for message in shared_stream:
            if message["data"] == "bad":
                reject_shared_stream_event()
            else:
                yield TriggerEvent(message)  # type: ignore[no-untyped-call]


async def test_a_message_that_a_filter_rejects_never_comes_again(connection: Connection, acks: Subscription) -> None:
    await connection.js.publish("orders.new", b"bad")
    await connection.js.publish("orders.new", b"good")
    async with triggerer(Refusing(stream=STREAM, durable=DURABLE)) as own:
        event, _ = await own.event()
        assert event["data"] == "good"
        assert (await acks.next_msg(DEADLINE)).data == b"+TERM"


async def test_triggers_on_one_consumer_share_its_messages(connection: Connection, acks: Subscription) -> None:
    twin = NatsTrigger(**TRIGGER.serialize()[1])
    assert twin.shared_stream_key() == TRIGGER.shared_stream_key()
    async with triggerer(TRIGGER, twin) as own:
        await connection.js.publish("orders.new", b"x")
        (one, first), (other, second) = await own.event(), await own.event()
        assert one == other
        own.stored(first)
        assert await unacked(connection) == 1
        own.stored(second)
        await acks.next_msg(DEADLINE)


async def test_no_more_messages_are_in_hand_than_airflow_can_store(
    connection: Connection, acks: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_HAND", 2)
    for number in range(4):
        await connection.js.publish("orders.new", str(number).encode())
    async with triggerer(TRIGGER) as own:
        bound = [(await own.event())[1] for _ in range(2)]
        assert own.events.empty()
        own.stored(bound[0])
        assert (await own.event())[0]["data"] == "2"


async def test_what_is_wrong_is_logged_and_mended_without_a_restart(
    known_server: NatsServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, said = asyncio.Event(), list[str]()
    monkeypatch.setattr(module, "AGAIN", 0.05)

    def note(text: str, *values: object) -> None:
        said.append(text % values)
        failed.set()

    monkeypatch.setattr(module.log, "error", note)
    async with triggerer(TRIGGER) as own:
        await asyncio.wait_for(failed.wait(), DEADLINE)
        assert "open consumer airflow of stream ORDERS: stream not found. Remedy: create the stream" in said[0]
        await connection.js.add_stream(name=STREAM, subjects=["orders.>"])
        await connection.js.publish("orders.new", b"x")
        assert (await own.event())[0]["data"] == "x"


async def test_it_goes_on_after_a_restart_of_nats_server(
    known_server: NatsServer, connection: Connection, acks: Subscription
) -> None:
    async with triggerer(TRIGGER) as own:
        await connection.js.publish("orders.new", b"before")
        assert (await own.event())[0]["data"] == "before"
        known_server.kill()
        await asyncio.to_thread(known_server.start)
        await connection.js.publish("orders.new", b"after")
        found = set()
        while "after" not in found:
            found.add((await own.event())[0]["data"])
        assert found <= {"before", "after"}


async def test_the_permissions_that_are_shown_are_enough(
    start_nats: StartNats, airflow_connection: Callable[..., None]
) -> None:
    shown = DOCS.read_text().partition("- Permissions: ")[2].partition("\n\n")[0]
    subjects = re.findall(r"`(\S+)`", shown)
    user = {"user": "u", "password": "p", "permissions": {"publish": subjects[:-1], "subscribe": subjects[-1:]}}
    admin = {"user": "admin", "password": "p"}
    server = start_nats(json.dumps({"authorization": {"users": [user, admin]}}))
    airflow_connection(host="127.0.0.1", port=server.port, login="u", password="p")
    async with connect(server.url.replace("://", "://admin:p@"), name="test") as own:
        await own.js.add_stream(name=STREAM, subjects=["orders.>"])
        await own.js.publish("orders.new", b"x")
        acks = await own.nc.subscribe("$JS.ACK.>")
        await own.nc.flush()
        async with triggerer(NatsTrigger(stream=STREAM, durable=DURABLE, subject="orders.new")) as running:
            _, bound = await running.event()
            running.stored(bound)
            assert (await acks.next_msg(DEADLINE)).data == b""
        assert await unacked(own) == 0
    assert "Permissions Violation" not in "".join(server.output)


async def test_airflow_restores_a_trigger_from_what_it_stores() -> None:
    path, kwargs = NatsTrigger(stream="S", durable="d", subject="s.>", nats_conn_id="c", ack_wait=5).serialize()
    assert path == "kai_airflow.nats.trigger.NatsTrigger"
    assert NatsTrigger(**kwargs).serialize() == (path, kwargs)


async def test_a_triggerer_that_does_not_share_streams_is_told() -> None:
    with pytest.raises(KaiAirflowError, match=r"doesn't share streams\. Remedy"):
        await anext(TRIGGER.run())


async def test_the_sensors_trigger_fires_with_the_message_and_where_to_ack_it(
    connection: Connection, acks: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SOONEST", 0)
    waiting = NatsMessageTrigger(
        **NatsMessageTrigger(
            stream=STREAM, durable=DURABLE, subject="orders.new", nats_conn_id="nats_default"
        ).serialize()[1]
    )
    fired = asyncio.ensure_future(anext(waiting.run()))
    await connection.js.publish("orders.other", b"not this")
    await connection.js.publish("orders.new", b"this")
    event = await asyncio.wait_for(fired, DEADLINE)
    assert event.payload["message"]["data"] == "this"
    assert event.payload["ack"].startswith(f"$JS.ACK.{STREAM}.{DURABLE}.")
    assert await unacked(connection) == 1


@pytest.mark.usefixtures("known_server")
async def test_the_sensors_trigger_fires_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SOONEST", 0)
    waiting = NatsMessageTrigger(stream="GONE", durable=DURABLE, subject="", nats_conn_id="nats_default")
    event = await anext(waiting.run())
    assert "stream not found. Remedy: create the stream" in event.payload["error"]
