"""Whatever dies, stops or doesn't answer, each message of a trigger is in exactly one run.

Real servers, 500 messages under way. The runs never begin: see flows.py.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nats.errors
import pytest
from nats.js.errors import APIError, ServiceUnavailableError

from kai_airflow.bridge.runs.intake import ACK_WAIT
from kai_airflow.bridge.site import Settings, Site
from kai_airflow.local import guard
from kai_airflow.local.home import write_private
from kai_airflow.local.ports import HOST
from kai_airflow.messaging.connection import NatsAddress, connect
from kai_airflow.messaging.streams import Retention, created
from tests.conftest import NatsServer
from tests.stack.conftest import command
from tests.stack.flows import COUNT, SOON, Flow, message, once
from tests.stack.parts import kill, part_process, stopped
from tests.stack.pipelines import until
from tests.stack.proxies import Link, Moody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

pytestmark = pytest.mark.timeout(600)

BRIDGE, SERVER, API = "kai_airflow.cli bridge", "nats-server --config", "airflow api_server"
AWAY = 15.0  # seconds
KILLS = 8
SMALL = 30_000  # bytes of a stream that takes in a part of 500 messages
DISK = 32 << 20  # bytes
ROOM, LARGE = 4 << 20, 20_000  # bytes that are free on it, and of a message that fills it soon


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def flow(stack: Stack, api: AirflowApi, numbers: Iterator[int]) -> Iterator[Flow]:
    """A workflow of the test's own that a bridge serves."""
    flow = Flow(stack, api, f"flow-{next(numbers)}").install()
    flow.wait_until_served()
    yield flow
    flow.remove()


@pytest.fixture
def sevens(stack: Stack, api: AirflowApi, numbers: Iterator[int]) -> Iterator[Flow]:
    """One whose runs take up to seven messages."""
    flow = Flow(stack, api, f"flow-{next(numbers)}", messages_per_run=7).install()
    flow.wait_until_served()
    yield flow
    flow.remove()


def site(stack: Stack) -> Site:
    return Site.from_json(stack.home.site.read_bytes())


@contextmanager
def bridging(stack: Stack, other: Site) -> Iterator[None]:
    """The stack's bridge works at another site while the block lasts."""
    before = site(stack)
    write_private(stack.home.site, other.to_json())
    kill(BRIDGE)
    try:
        yield
    finally:
        write_private(stack.home.site, before.to_json())
        kill(BRIDGE)


@contextmanager
def second_bridge(stack: Stack, log: Path) -> Iterator[int]:
    """One more bridge; gives its process."""
    words = [sys.executable, "-P", "-m", "kai_airflow.cli", "bridge", "--home", str(stack.home.path)]
    with log.open("wb") as file, subprocess.Popen(words, stdout=file, stderr=file) as process:
        try:
            yield process.pid
            process.send_signal(signal.SIGTERM)
            assert process.wait(SOON) == 0
        finally:
            process.kill()


def kill_bridge(but: int) -> None:
    """kill -9 of the stack's own bridge, where it runs just now."""
    lines = {process: command(process) for process in guard.descendants(os.getpid()) if process != but}
    for process in [one for one, line in lines.items() if BRIDGE in line and guard.__file__ not in line]:
        os.kill(process, signal.SIGKILL)


def test_bridges_that_are_killed_again_and_again_or_stopped_for_a_while_lose_and_double_nothing(
    stack: Stack, flow: Flow, sevens: Flow, tmp_path: Path
) -> None:
    chance, log, flows = random.Random(1), tmp_path / "log", (flow, sevens)
    with second_bridge(stack, log) as second:
        until(lambda: all(f"serving {one.dag_id}" in log.read_text() for one in flows))
        with flow.publishing(), sevens.publishing():
            until(lambda: all(f" of {one.dag_id}: " in log.read_text() for one in flows))
            os.kill(second, signal.SIGSTOP)
            back = time.monotonic() + ACK_WAIT + AWAY
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.8, 2.0))  # any moment: that is what is tested
                kill_bridge(but=second)
        time.sleep(max(0.0, back - time.monotonic()))  # until what it has in hand was given to the other one
        seen = len(log.read_text())
        os.kill(second, signal.SIGCONT)
        count = itertools.count(COUNT)
        while "INFO run kai__" not in log.read_text()[seen:]:  # it is done with what it had in hand
            with flow.publishing([number := next(count)]):
                pass
        for one in flows:
            one.wait()
    flow.assert_each_once(range(number + 1))
    sevens.assert_each_once()


def test_a_nats_server_that_is_killed_again_and_again_forgets_no_message_and_each_is_in_one_run(flow: Flow) -> None:
    chance = random.Random(2)
    with flow.publishing():
        for _ in range(KILLS // 2):
            time.sleep(chance.uniform(1.0, 3.0))
            kill(SERVER)
    flow.wait()
    flow.assert_each_once()


def test_an_api_server_that_stands_still_for_a_while_and_dies_then_gets_each_run_once(sevens: Flow) -> None:
    with sevens.publishing():
        sevens.under_way(10)
        with stopped(part_process(API)):
            time.sleep(AWAY)
        sevens.under_way(20)
        kill(API)
    sevens.wait()
    sevens.assert_each_once()


def test_an_api_server_that_is_late_or_says_500_whether_or_not_it_made_a_run_gets_each_once(
    stack: Stack, flow: Flow
) -> None:
    with Moody(stack.port, seed=3) as moody:
        airflow = replace(site(stack).airflow, url=f"http://{HOST}:{moody.port}")
        with bridging(stack, replace(site(stack), airflow=airflow)):
            with flow.publishing():
                until(lambda: moody.done["late"])
            flow.wait()
    assert set(moody.done) == {*Moody.MOODS, "late"}
    flow.assert_each_once()


def test_connections_that_are_cut_or_go_silent_are_made_anew_and_each_message_is_in_one_run(
    stack: Stack, sevens: Flow
) -> None:
    port = urlsplit(stack.nats_url).port or 0
    with Link(port) as to_nats, Link(stack.port) as to_api:
        nats = NatsAddress(stack.nats_url.replace(f":{port}", f":{to_nats.port}"))
        airflow = replace(site(stack).airflow, url=f"http://{HOST}:{to_api.port}")
        with bridging(stack, replace(site(stack), nats=nats, airflow=airflow)):
            with sevens.publishing():
                for runs, link in ((10, to_nats), (20, to_api)):
                    sevens.under_way(runs)
                    link.cut()
                    time.sleep(2)  # what is asked for meanwhile fails
                    link.mend()
                for runs, link in ((30, to_nats), (40, to_api)):
                    sevens.under_way(runs)
                    link.silence()
            sevens.wait()
    sevens.assert_each_once()


def test_a_full_stream_refuses_messages_and_each_that_it_acked_is_in_one_run(
    stack: Stack, flow: Flow, sevens: Flow, tmp_path: Path
) -> None:
    """What was written down of groups has to fit in as well: those of several messages may wait for room."""
    both, small = (flow, sevens), Settings(retention=Retention(max_bytes=SMALL))
    for one in both:
        one.write(tmp_path / one.product)
    with bridging(stack, replace(site(stack), folders=(tmp_path,), settings=small)):
        until(lambda: all(max_bytes(one) == SMALL for one in both))
        acked = [asyncio.run(until_refused(one, 0, ServiceUnavailableError)) for one in both]
    with flow.publishing(range(acked[0], COUNT)), sevens.publishing(range(acked[1], COUNT)):
        pass
    for one in both:
        one.wait()
        one.assert_each_once()


def test_on_a_full_disk_publishing_is_an_error_and_each_message_that_was_acked_is_in_one_run(
    stack: Stack, flow: Flow, tmp_path: Path
) -> None:
    disk, krts = tmp_path / "disk", tmp_path / "krts"
    with mounted(disk), nats_on(disk) as server:
        there = replace(flow, nats_url=server.url)
        there.write(krts)
        with bridging(stack, replace(site(stack), nats=NatsAddress(server.url), folders=(krts,))):
            there.wait_until_served()
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free - ROOM))
            acked = asyncio.run(until_refused(there, LARGE, APIError, nats.errors.Error))
            ballast.unlink()
            server.kill()
            server.start()
            with there.publishing(range(acked, COUNT)):
                pass
            there.wait()
            there.assert_each_once()


def test_a_stream_that_is_deleted_and_made_anew_gives_its_messages_runs_of_their_own(stack: Stack, flow: Flow) -> None:
    with flow.publishing(range(COUNT // 2)):
        flow.under_way(50)
    moment = asyncio.run(deleted(flow))
    before = flow.origins()
    with flow.publishing(range(COUNT // 2, COUNT)):
        pass
    flow.wait()
    flow.assert_each_once(range(COUNT // 2, COUNT), besides=moment)
    after = flow.origins()
    assert {run_id: after[run_id] for run_id in before} == before
    old = [sequence for one in after.values() if one.created == moment for sequence in one.sequences]
    assert len(set(old)) == len(old) <= COUNT // 2


def max_bytes(flow: Flow) -> int | None:
    async def look() -> int | None:
        async with connect(flow.nats, name="test") as connection:
            return (await connection.js.stream_info(flow.stream)).config.max_bytes

    return asyncio.run(look())


async def until_refused(flow: Flow, size: int, *refusals: type[Exception]) -> int:
    """Publish until the server refuses; gives how many it has acked."""
    async with connect(flow.nats, name="trigger") as connection:
        for number in range(COUNT):
            try:
                await connection.js.publish(flow.subject, message(number, size), headers=once(flow.subject, number))
            except refusals:
                return number
    raise AssertionError(f"{COUNT} messages were taken")


async def deleted(flow: Flow) -> str:
    """Delete the stream; gives when it was made."""
    async with connect(flow.nats, name="test") as connection:
        moment = await created(connection.js, flow.stream)
        await connection.js.delete_stream(flow.stream)
    return moment


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A small disk."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        subprocess.run(words, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of a few megabytes can't be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def nats_on(folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
