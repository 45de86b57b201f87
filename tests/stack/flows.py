"""Workflows whose runs never begin, and messages for their triggers: what is looked at is which runs there are."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import nats.errors
import nats.js.errors

from kai_airflow.bridge.client import reaching
from kai_airflow.bridge.runs.inspection import Inspection
from kai_airflow.bridge.site import AirflowSite
from kai_airflow.bridge.workflow import source_of
from kai_airflow.krt import check
from kai_airflow.messaging.codec import Message, decode, encode, pack, unpack
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import MessagingError, translated
from kai_airflow.messaging.origin import Origin
from kai_airflow.messaging.streams import created
from kai_airflow.plan import compile_product, names
from tests.stack.krts import krt, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from nats.aio.msg import Msg

    from kai_airflow.bridge.runs.audit import Audit
    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack
    from kai_airflow.messaging.connection import Connection

COUNT = 500
RATE = 50.0  # messages that are published in a second, faster than Airflow takes runs
PATIENCE = 150.0  # seconds until all of them have runs: a minute for what a dead bridge held, twenty seconds of work
SOON = 60.0  # seconds for a DAG, or a stream, to be there
LOOK = 0.5  # seconds
LIMIT = 1 << 20
NOWHERE = "x-airflow: {pool: nowhere}"  # no such pool: Airflow doesn't begin such a task


@dataclass(frozen=True)
class Flow:
    """A product of one workflow with a trigger ``start``.

    :param nats_url: where its messages are; the stack's own NATS by default
    """

    stack: Stack
    api: AirflowApi
    product: str
    messages_per_run: int = 1
    nats_url: str = ""
    version: str = "v1.0.0"

    @property
    def nats(self) -> str:
        return self.nats_url or self.stack.nats_url

    @property
    def dag_id(self) -> str:
        return f"{self.product}.work"

    @property
    def stream(self) -> names.Stream:
        return names.live_stream(self.product, self.version, "work")

    @property
    def subject(self) -> str:
        return f"{self.stream}.start"

    @property
    def text(self) -> str:
        listed = krt(
            process("start", "trigger", "none", more=f", {NOWHERE}"),
            process("exit", "exit", "none", "start", more=f", {NOWHERE}"),
            more=f"x-airflow: {{product: {self.product}}}",
        )
        runs = f"    x-airflow: {{max_active_runs: 1, messages_per_run: {self.messages_per_run}}}\n"
        return listed.replace("    processes:", f"{runs}    processes:").replace("v1.0.0", self.version)

    def install(self) -> Flow:
        self.write(self.stack.dags / self.product)
        return self

    def write(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "krt.yaml").write_text(self.text)

    def remove(self) -> None:
        """Its file, its runs: nobody has to look at hundreds of them any more."""
        (self.stack.dags / self.product / "krt.yaml").unlink()
        self.api.delete_dag(self.dag_id)

    @contextmanager
    def publishing(self, numbers: Sequence[int] = range(COUNT), rate: float = RATE) -> Iterator[Future[None]]:
        """Publish messages while the block lasts, each until it is acked; the block is left when all are."""
        with ThreadPoolExecutor(1, "publisher") as thread:
            published = thread.submit(asyncio.run, publish(self.nats, self.subject, numbers, rate))
            yield published
            published.result()

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until a bridge has acked all messages, and all groups of them."""
        asyncio.run(self._looked(lambda left: left == 0, timeout))

    def wait_until_served(self) -> None:
        """Wait until a bridge listens."""
        self.api.wait_for_dag(self.dag_id, SOON)
        asyncio.run(self._looked(lambda left: left >= 0, SOON))

    def under_way(self, runs: int) -> None:
        """Wait until some messages have become runs, and others haven't."""
        deadline = time.monotonic() + SOON
        while (found := self.count()) < runs:
            assert time.monotonic() < deadline, f"{found} runs of {runs} within {SOON:g} s"
            time.sleep(LOOK / 5)

    def count(self) -> int:
        """How many runs there are."""
        return self.api.count_runs(self.dag_id)

    def origins(self) -> dict[str, Origin]:
        """What each run of the version's messages carries, by its id."""
        origins = {run.run_id: Origin.from_conf(run.conf) for run in self.api.runs(self.dag_id)}
        return {run_id: one for run_id, one in origins.items() if one.stream == self.stream}

    def assert_each_once(self, numbers: Sequence[int] = range(COUNT), *, besides: str = "nothing") -> None:
        """Each message of these numbers is in exactly one run, whose id names it, and no run carries anything else.

        `kai-airflow audit` comes to the same.

        :param besides: when a former stream was made, whose runs are left out
        """
        moment, found = asyncio.run(self._stored())
        assert sorted(found.values()) == list(numbers)
        origins = {run_id: one for run_id, one in self.origins().items() if one.created != besides}
        assert Counter(sequence for one in origins.values() for sequence in one.sequences) == Counter(list(found))
        assert {run_id: f"kai__{moment}__{one.sequences[0]}" for run_id, one in origins.items()} == {
            run_id: run_id for run_id in origins
        }
        assert max(len(one.sequences) for one in origins.values()) <= self.messages_per_run
        audit = asyncio.run(self._audited())
        assert (audit.differences, audit.in_runs) == ((), audit.messages)  # other versions' messages among them
        assert audit.messages >= len(found)

    async def _audited(self) -> Audit:
        workflow = compile_product(check(self.text.encode(), PurePath("krt.yaml")).require()).workflows[0]
        site = AirflowSite(self.stack.url, self.stack.user, self.stack.password)
        async with connect(self.nats, name="test") as connection, reaching(site) as airflow:
            return await Inspection(connection, airflow).audit(workflow)

    async def _stored(self) -> tuple[str, dict[int, int]]:
        """When the stream was made, and the number in each message by its sequence."""
        async with connect(self.nats, name="test") as connection:
            subscription = await connection.js.subscribe(self.subject, stream=self.stream, ordered_consumer=True)
            state = (await connection.js.stream_info(self.stream, subjects_filter=self.subject)).state
            wanted = (state.subjects or {}).get(self.subject, 0)
            read = [await subscription.next_msg(timeout=SOON) for _ in range(wanted)]
            return await created(connection.js, self.stream), dict(map(_numbered, read))

    async def _looked(self, enough: Callable[[int], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        async with connect(self.nats, name="test") as connection:
            while not enough(left := await self._left(connection)):
                assert time.monotonic() < deadline, f"{left} messages and groups are left after {timeout:g} s"
                await asyncio.sleep(LOOK)

    async def _left(self, connection: Connection) -> int:
        """How many messages and groups aren't acked; -1 where no bridge has ever been."""
        try:
            source = source_of(self.stream, await created(connection.js, self.stream), "start")
            with translated("look"):
                infos = [
                    await connection.js.consumer_info(self.stream, one) for one in (source.messages, source.groups)
                ]
        except MessagingError:
            return -1
        return sum((info.num_pending or 0) + (info.num_ack_pending or 0) for info in infos)


def _numbered(message: Msg) -> tuple[int, int]:
    return message.metadata.sequence.stream, int(unpack(decode(message.data).payload)["n"])


async def publish(url: str, subject: str, numbers: Sequence[int], rate: float) -> None:
    """Publish a message for each number, as a trigger that doesn't give up: none is published twice."""
    async with connect(url, name="trigger") as connection:
        for number in numbers:
            await acked(connection, subject, number)
            await asyncio.sleep(1 / rate)


async def acked(connection: Connection, subject: str, number: int) -> None:
    """Publish a message until it is acked. What was acked, or stored unknown to us, isn't stored again."""
    while True:
        try:
            await connection.js.publish(subject, message(number), timeout=2, headers=once(subject, number))
        except (nats.errors.Error, nats.js.errors.Error):
            await asyncio.sleep(LOOK / 5)
        else:
            return


def message(number: int, size: int = 0) -> bytes:
    payload: Any = {"n": number, "filling": "x" * size} if size else {"n": number}
    return encode(Message(f"request-{number}", pack(payload), from_node="start"), LIMIT)


def once(subject: str, number: int) -> dict[str, str]:
    """The headers of a message that isn't stored twice."""
    return {"Nats-Msg-Id": f"{subject} {number}"}
