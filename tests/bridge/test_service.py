"""The bridge as a whole, on a real nats-server and an Airflow that fails as it is told."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge import service, workflow
from kai_airflow.bridge.runs import ended, replies
from kai_airflow.bridge.site import Site
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.reading import messages
from kai_airflow.plan import names
from tests.bridge.airflow_stub import DAG, AirflowStub, StubDag
from tests.bridge.answering import asked, ids, out
from tests.bridge.answering import ended as ended_run
from tests.bridge.parts import STREAM, at_work, dead, each_once, krt_text, prepared, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from nats.aio.msg import Msg

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.workflow import Workbench
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow
    from tests.bridge.airflow_stub import Act
    from tests.conftest import NatsServer, StartNats

PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK", 0.05)
    monkeypatch.setattr(service, "AGAIN", 0.5)
    monkeypatch.setattr(ended, "POLL", 0.05)
    monkeypatch.setattr(ended, "FAILED", 0.1)
    monkeypatch.setattr(workflow, "PAUSES", (0.05,))
    monkeypatch.setattr(replies, "TAKEOVER", timedelta(seconds=0.5))
    monkeypatch.setattr("kai_airflow.bridge.runs.gate.PAUSES", (0.05,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds the KRT file of product shop, workflow train."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "krt.yaml").write_text(krt_text())
    return tmp_path


def site_of(folder: Path, nats: str, stub: AirflowStub) -> Site:
    return Site((folder,), NatsAddress(nats), stub.site)


async def until_served(connection: Connection, stream: str = STREAM) -> None:
    """The stream and both triggers' consumers are there."""
    async with asyncio.timeout(20):
        while True:
            with suppress(Exception):
                if (await connection.js.stream_info(stream)).state.consumer_count >= 4:
                    return
            await asyncio.sleep(0.02)


async def test_a_krt_file_that_comes_changes_and_goes_is_followed(
    nats_server: NatsServer, connection: Connection, stub: AirflowStub, folder: Path
) -> None:
    file = folder / "shop" / "krt.yaml"
    file.rename(away := folder / "away")
    async with at_work(service.run(site_of(folder, nats_server.url, stub))):
        await asyncio.sleep(0.1)
        away.rename(file)
        await until_served(connection)
        sequences = await publish(connection, 20)
        await stub.until(lambda: len(stub.runs) == 20)
        each_once(stub, sequences)
        # Another version's messages become runs of the same DAG, and so do those that the old one still publishes.
        file.write_text(krt_text("v2.0.0"))
        new = names.live_stream("shop", "v2.0.0", "train")
        await until_served(connection, new)
        await connection.js.publish(names.output_subject(new, "first"), b"\x0a\x01n")
        await publish(connection, 5, begin=20)
        await stub.until(lambda: len(stub.runs) == 26)
        file.unlink()
        await asyncio.sleep(0.3)
        await publish(connection, 5, begin=25)
        await asyncio.sleep(0.3)
        assert len(stub.runs) == 26


async def test_a_nats_and_an_airflow_that_come_late_are_waited_for(
    start_nats: StartNats, stub: AirflowStub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kai_airflow.messaging.connection.FIRST_CONNECT", 0.2)
    server = start_nats()
    server.kill()
    dag = stub.dags.pop(DAG)
    async with at_work(service.run(site_of(folder, server.url, stub))):
        await asyncio.sleep(0.5)
        server.start()
        async with connect(server.url, name="test") as connection:
            await until_served(connection)
            sequences = await publish(connection, 5)
            await stub.until(lambda: len(stub.asked) > 5)
            stub.dags[DAG] = dag
            await stub.until(lambda: len(stub.runs) == 5)
    each_once(stub, sequences)


async def test_a_connection_that_the_server_closes_for_good_is_made_anew(
    start_nats: StartNats, stub: AirflowStub, folder: Path
) -> None:
    """The user's password is changed and changed back, without a restart: the client gives up at the first."""
    server = start_nats(users("one"))
    own = f"nats://kai:one@127.0.0.1:{server.port}"
    async with (
        connect(f"nats://test:test@127.0.0.1:{server.port}", name="test") as connection,
        at_work(service.run(site_of(folder, own, stub))),
    ):
        await until_served(connection)
        sequences = await publish(connection, 3)
        await stub.until(lambda: len(stub.runs) == 3)
        for password in ("two", "one"):
            (server.folder / "nats.conf").write_text(users(password))
            reloads = "".join(server.output).count("Reloaded server configuration")
            assert server._process is not None
            server._process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while "".join(server.output).count("Reloaded server configuration") == reloads:
                    await connection.nc.flush()
        sequences += await publish(connection, 3, begin=3)
        await stub.until(lambda: len(stub.runs) == 6, 20)
    each_once(stub, sequences)


def users(password: str) -> str:
    return (
        "accounts { a { jetstream: enabled, users: ["
        f'{{user: kai, password: "{password}"}}, {{user: test, password: test}}] }} }}'
    )


async def test_a_defect_in_one_workflows_way_stops_no_other_and_it_is_served_anew(
    nats_server: NatsServer,
    connection: Connection,
    stub: AirflowStub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "krt.yaml").write_text(krt_text())
    stub.dags["other.train"] = StubDag()
    tries = 0

    async def serve(bench: Workbench, what: Workflow) -> None:
        nonlocal tries
        if what.product == "other" and (tries := tries + 1) < 3:
            raise RuntimeError("a defect")
        await workflow.serve(bench, what)

    monkeypatch.setattr(service, "serve", serve)
    async with at_work(service.run(site_of(folder, nats_server.url, stub))):
        await until_served(connection)
        await until_served(connection, names.live_stream("other", "v1.0.0", "train"))
        each = await publish(connection, 3)
        await stub.until(lambda: len(stub.runs) == 3)
    each_once(stub, each)
    assert tries == 3
    assert sum("other.train: ended" in line for line in caplog.messages) == 2


async def test_a_bridge_that_is_cancelled_ends_soon_whatever_it_is_at(
    nats_server: NatsServer, connection: Connection, stub: AirflowStub, folder: Path
) -> None:
    """Also while it ends the serving of a workflow because its file has changed."""
    chance = random.Random(7)
    sequences: list[int] = []
    before: set[asyncio.Task[object]] = set()
    for round_ in range(40):
        bridge = asyncio.create_task(service.run(site_of(folder, nats_server.url, stub)))
        if round_:
            sequences += await publish(connection, 3, begin=3 * round_)
            (folder / "shop" / "krt.yaml").write_text(krt_text(more=f"x-airflow: {{messages_per_run: {round_}}}"))
        else:
            await until_served(connection)
        await asyncio.sleep(chance.random() * 0.25)
        bridge.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait([bridge])
        assert bridge.cancelled()
        if round_ == 1:
            before = asyncio.all_tasks()
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task)] == []
    async with at_work(service.run(site_of(folder, nats_server.url, stub))):
        await stub.until(lambda: len(stub.carried()) >= len(sequences), 60)
    each_once(stub, sequences, in_order=False)


async def test_a_task_that_swallows_its_cancel_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.11's wait_for may."""
    monkeypatch.setattr(service, "AGAIN", 0.05)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if (swallowed := swallowed + 1) == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await service._cancelled(task)
    assert task.cancelled()


async def test_who_cancels_others_is_cancelled_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes none of their cancels for his own, nor his own for theirs."""

    async def slow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    cancelling = asyncio.create_task(service._cancelled(task))
    await asyncio.sleep(0)
    cancelling.cancel()
    await asyncio.wait([cancelling, task])
    assert cancelling.cancelled()
    assert task.cancelled()


# Killed as a crash would.


@asynccontextmanager
async def bridge_process(site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, site.to_json(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


POINTS = ["looked", "asked", "made", "acked", "recorded", "logged in"]


@dataclass
class Killer:
    """Kills a bridge when it passes a point for a certain time."""

    stub: AirflowStub
    victim: asyncio.subprocess.Process | None = None
    point: str = ""
    passes: int = 1

    def strike(self, where: str) -> None:
        if where == self.point and self.victim:
            self.passes -= 1
            if not self.passes:
                self.victim.kill()

    async def watch(self, connection: Connection) -> None:
        self.stub.fault, self.stub.login_fault = self._asked, self._logged_in  # type: ignore[assignment]
        await connection.nc.subscribe(f"$JS.ACK.{STREAM}.>", cb=self._acked)
        await connection.nc.subscribe(names.groups_subject(STREAM, "first"), cb=self._recorded)

    async def _asked(self, request: web.Request, act: Act) -> web.StreamResponse:
        if request.method == "GET":
            self.strike("looked")
            return await act()
        self.strike("asked")
        answer = await act()
        self.strike("made")
        return answer

    async def _logged_in(self, _: web.Request, act: Act) -> web.StreamResponse:
        self.strike("logged in")
        return await act()

    async def _acked(self, message: Msg) -> None:
        if "BRIDGE-messages-first" in message.subject:
            self.strike("acked")

    async def _recorded(self, _: Msg) -> None:
        self.strike("recorded")


@pytest.mark.parametrize("per_run", [1, 5])
async def test_a_bridge_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    nats_server: NatsServer, connection: Connection, stub: AirflowStub, folder: Path, per_run: int
) -> None:
    """Before Airflow has the run, when it has it and nobody knows, at the ack, when a group is written down."""
    more = f"x-airflow: {{messages_per_run: {per_run}}}"
    (folder / "shop" / "krt.yaml").write_text(krt_text(more=more))
    site = site_of(folder, nats_server.url, stub)
    sequences: list[int] = []
    async with bridge_process(site):
        await until_served(connection)
    killer = Killer(stub)
    await killer.watch(connection)
    for number, where in enumerate(one for one in POINTS if per_run > 1 or one != "recorded"):
        sequences += await publish(connection, 40, begin=40 * number)
        async with bridge_process(site) as killer.victim:
            killer.point, killer.passes = where, 1 if where == "logged in" else 1 + number
            async with asyncio.timeout(20):
                await killer.victim.wait()
    killer.victim = None
    async with bridge_process(site):
        await stub.until(lambda: len(stub.carried()) >= len(sequences), 40)
    each_once(stub, sequences, in_order=False)
    assert await dead(connection) == []


async def test_two_bridges_share_the_work_and_one_may_be_killed(
    nats_server: NatsServer, connection: Connection, stub: AirflowStub, folder: Path
) -> None:
    site = site_of(folder, nats_server.url, stub)
    async with bridge_process(site) as first, bridge_process(site):
        await until_served(connection)
        sequences = await publish(connection, 300)
        await stub.until(lambda: len(stub.carried()) >= 100)
        first.kill()
        await stub.until(lambda: len(stub.carried()) >= 300)
    each_once(stub, sequences, in_order=False)


@pytest.mark.parametrize("where", ["begun", "replied", "done"])
async def test_where_a_bridge_is_killed_while_it_answers_another_goes_on_and_each_is_answered_once(
    nats_server: NatsServer, connection: Connection, airflow: Airflow, stub: AirflowStub, folder: Path, where: str
) -> None:
    site = site_of(folder, nats_server.url, stub)
    await prepared(connection, airflow)
    request_ids = [f"r{n}" for n in range(20)]
    for one in request_ids:
        await ended_run(connection, stub, await asked(connection, one), [out(one), out(f"{one}-2", channel="go")])
    killer = Killer(stub, point=where, passes=5)

    async def answering(message: Msg) -> None:
        killer.strike(message.data.decode())

    async def replied(_: Msg) -> None:
        killer.strike("replied")

    await connection.nc.subscribe(names.answer_subject(STREAM, "*"), cb=answering)
    await connection.nc.subscribe(names.output_subject(STREAM, "out"), cb=replied)
    await connection.nc.flush()
    async with bridge_process(site) as killer.victim:
        async with asyncio.timeout(20):
            await killer.victim.wait()
    killer.victim = None
    async with bridge_process(site), bridge_process(site), asyncio.timeout(40):
        while sum([await is_answered(connection, n + 1) for n in range(20)]) < 20:
            pass
    assert sorted(await ids(connection)) == sorted([*request_ids, *(f"{one}-2" for one in request_ids)])


async def is_answered(connection: Connection, request: int) -> bool:
    words = [raw async for raw in messages(connection, STREAM, names.answer_subject(STREAM, request))]
    return bool(words) and words[-1].data == replies.DONE
