"""One bridge acts: a Lease on the local Kubernetes API, between holders of this process and of others."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.cluster import lease
from kai_airflow.bridge.cluster.client import LEASES, ClusterError, Kubernetes
from kai_airflow.bridge.cluster.lease import Lease, LeaseLostError
from tests.bridge.clusters import NAMESPACE, LocalKubernetes, there, until
from tests.bridge.parts import at_work
from tests.conftest import Program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.kube.objects import Manifest

PROGRAM = Path(__file__).with_name("lease_holder.py")
NAME = "kai-airflow-test"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DURATION", 3)
    monkeypatch.setattr(lease, "RENEW", 0.5)
    monkeypatch.setattr(lease, "SURE", 2.0)
    monkeypatch.setattr(lease, "LOOK", 0.2)


class Holder:
    """Who wants the Lease; ``acting`` is set while he acts."""

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self.lease = Lease(kubernetes, NAMESPACE, NAME, {"a": "b"}, holder=name)
        self.acting = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: ClusterError | None = None

    async def act(self) -> None:
        self.acting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.acting.clear()

    async def work(self) -> None:
        try:
            await self.lease.work(self.act)
        except ClusterError as error:
            self.error = error
        finally:
            self.ended.set()

    async def acts(self, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            await self.acting.wait()


async def found(objects: Kubernetes) -> Manifest:
    return await there(objects, LEASES, NAME)


async def test_who_is_first_holds_it_and_renews_it(objects: Kubernetes) -> None:
    one = Holder(objects, "one")
    async with at_work(one.work()):
        await one.acts()
        before = await found(objects)
        assert before["spec"]["holderIdentity"] == "one"
        assert before["spec"]["leaseDurationSeconds"] == 3
        assert (before["metadata"]["labels"], one.lease.predecessor) == ({"a": "b"}, None)
        one.lease.require()

        async def is_renewed() -> bool:
            return bool((await found(objects))["spec"]["renewTime"] > before["spec"]["renewTime"])

        await until(is_renewed, 5)
        assert (await found(objects))["spec"]["acquireTime"] == before["spec"]["acquireTime"]


async def test_one_that_ends_hands_it_over_at_once(objects: Kubernetes) -> None:
    one, two = Holder(objects, "one"), Holder(objects, "two")
    async with at_work(two_later(one, two)):
        async with at_work(one.work()):
            await one.acts()
            assert not two.acting.is_set()
        began = time.monotonic()
        assert (await found(objects))["spec"]["holderIdentity"] in ("", "two")
        await two.acts()
        assert time.monotonic() - began < 1.5
        assert two.lease.predecessor is not None
        assert (datetime.now(UTC) - two.lease.predecessor).total_seconds() < 5
        assert (await found(objects))["spec"]["leaseTransitions"] == 1


async def two_later(one: Holder, two: Holder) -> None:
    await one.acts()
    await two.work()


async def test_of_many_at_once_one_acts(objects: Kubernetes) -> None:
    holders = [Holder(objects, str(number)) for number in range(8)]
    async with at_work(*(one.work() for one in holders)):
        acting = [asyncio.ensure_future(one.acting.wait()) for one in holders]
        await asyncio.wait(acting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(1)
        assert sum(one.acting.is_set() for one in holders) == 1
        assert all(one.error is None for one in holders)
        for waiting in acting:
            waiting.cancel()


async def test_a_holder_whose_cluster_is_out_of_reach_stops_before_another_begins(
    local: LocalKubernetes, objects: Kubernetes
) -> None:
    one = Holder(objects, "one")
    async with at_work(one.work()):
        await one.acts()
        began = time.monotonic()
        local.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            await one.ended.wait()
        assert time.monotonic() - began < lease.DURATION
        assert isinstance(one.error, LeaseLostError)
        with pytest.raises(LeaseLostError):
            one.lease.require()
        local.process.send_signal(signal.SIGCONT)


async def test_a_short_outage_is_survived(local: LocalKubernetes, objects: Kubernetes) -> None:
    one = Holder(objects, "one")
    async with at_work(one.work()):
        await one.acts()
        local.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        local.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2.5)
        assert one.acting.is_set()


async def test_one_that_somebody_else_has_taken_is_lost_at_the_next_renewal(objects: Kubernetes) -> None:
    one = Holder(objects, "one")
    async with at_work(one.work()):
        await one.acts()
        await changed(objects, spec={"holderIdentity": "a-thief"})
        async with asyncio.timeout(5):
            await one.ended.wait()
    assert isinstance(one.error, LeaseLostError)
    assert (await found(objects))["spec"]["holderIdentity"] == "a-thief"  # not handed over: it is not ours


async def test_one_that_a_person_has_labelled_is_still_ours(objects: Kubernetes) -> None:
    one = Holder(objects, "one")
    async with at_work(one.work()):
        await one.acts()
        await changed(objects, labels={"team": "ml"})
        await asyncio.sleep(3)
        assert one.acting.is_set()


async def test_one_that_was_deleted_is_lost_and_can_be_had_anew(objects: Kubernetes) -> None:
    one, two = Holder(objects, "one"), Holder(objects, "two")
    async with at_work(one.work()):
        await one.acts()
        await objects.delete(LEASES, await found(objects))
        async with asyncio.timeout(5):
            await one.ended.wait()
    async with at_work(two.work()):
        await two.acts()


async def test_times_that_are_written_in_it_mean_nothing(objects: Kubernetes) -> None:
    """Those of a holder whose clock is a year ahead, or a year behind: it lives while it is renewed."""
    for renewed in ("2020-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"):
        two = Holder(objects, "two")
        made = await objects.get(LEASES, NAMESPACE, NAME)
        spec = {"holderIdentity": "one", "leaseDurationSeconds": 2, "renewTime": renewed, "acquireTime": renewed}
        if made is None:
            meta = {"apiVersion": LEASES.api, "kind": LEASES.name, "metadata": {"name": NAME}}
            await objects.create(LEASES, NAMESPACE, {**meta, "spec": spec})
        else:
            await objects.replace(LEASES, NAMESPACE, {**made, "spec": spec})
        async with at_work(two.work()):
            for number in range(4):
                await asyncio.sleep(0.9)
                await changed(objects, annotations={"renewed": str(number)})
                assert not two.acting.is_set()
            await two.acts(8)


async def changed(objects: Kubernetes, *, spec: dict[str, Any] | None = None, **meta: dict[str, str]) -> None:
    """A change by somebody else, whatever the holder does meanwhile."""
    while True:
        now = await found(objects)
        more = {key: {**now["metadata"].get(key, {}), **what} for key, what in meta.items()}
        new = {**now, "metadata": {**now["metadata"], **more}, "spec": {**now["spec"], **(spec or {})}}
        try:
            await objects.replace(LEASES, NAMESPACE, new)
        except ClusterError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        else:
            return


async def test_what_is_noted_is_there_for_the_next_holder(objects: Kubernetes) -> None:
    one, two = Holder(objects, "one"), Holder(objects, "two")
    async with at_work(one.work()):
        await one.acts()
        await one.lease.noted("kai-airflow/a", "1")
        one.lease.note("kai-airflow/b", "2")

        async def is_noted() -> bool:
            notes = (await found(objects))["metadata"]["annotations"]
            return {key: notes.get(f"kai-airflow/{key}") for key in "ab"} == {"a": "1", "b": "2"}

        await until(is_noted, 3)
        one.lease.note("kai-airflow/b", "")
        await one.lease.noted("kai-airflow/a", "3")
    async with at_work(two.work()):
        await two.acts()
        assert two.lease.notes["kai-airflow/a"] == "3"
        assert "kai-airflow/b" not in two.lease.notes


# As processes of their own.


@asynccontextmanager
async def holding(local: LocalKubernetes, name: str) -> AsyncIterator[Program]:
    """A program that holds the Lease, and says what it does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, str(local.home / "kubeconfig"), NAMESPACE, NAME, name, stdout=asyncio.subprocess.PIPE
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.kill()


async def test_a_holder_that_stood_still_notices_before_it_acts_that_another_has_it(local: LocalKubernetes) -> None:
    async with holding(local, "one") as one:
        await one.said("act")
        async with holding(local, "two") as two:
            one.signal(signal.SIGSTOP)
            began = time.monotonic()
            await two.said("act")
            assert time.monotonic() - began < 12
            one.signal(signal.SIGCONT)
            await one.said("lost")
            assert "act" not in one.lines[one.lines.index("late") :]


async def test_where_a_holder_is_killed_another_takes_over(local: LocalKubernetes) -> None:
    async with holding(local, "one") as one:
        await one.said("act")
        async with holding(local, "two") as two:
            await one.kill()
            began = time.monotonic()
            await two.said("act")
            assert time.monotonic() - began < 12
