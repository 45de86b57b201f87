"""What is there, followed through whatever happens to the connection and the API."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.cluster import informer
from kai_airflow.bridge.cluster.client import SECRETS, Kubernetes, reaching
from kai_airflow.bridge.cluster.informer import Informer
from kai_airflow.bridge.site import Cluster
from kai_airflow.kube import live
from tests.bridge.clusters import NAMESPACE, LocalKubernetes
from tests.bridge.parts import at_work
from tests.bridge.proxy import SwallowingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.bridge.cluster.client import Kind
    from kai_airflow.kube.objects import Manifest

SITE = live.site_label("http://airflow")
OURS = {live.MANAGED_BY: live.MANAGER, live.SITE_LABEL: SITE}


def secret(name: str, value: str = "YQ==", labels: dict[str, str] = OURS) -> Manifest:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": value}}


class Followed:
    """An informer, and what it has told."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self.told: list[tuple[str | None, str | None]] = []
        self._news = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()
        self.informer = Informer(kubernetes, SECRETS, NAMESPACE, live.selector(SITE), self._changed)

    def _changed(self, _: Kind, before: Manifest | None, now: Manifest | None) -> None:
        self.told.append((_value(before), _value(now)))
        task = asyncio.ensure_future(self._tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, names: set[str], seconds: float = 30) -> None:
        """Wait until it knows of these and no others."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: set(self.informer.objects) == names)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Followed]:
        async with at_work(self.informer.follow()), asyncio.timeout(60):
            await self.informer.synced.wait()
            yield self


def _value(found: Manifest | None) -> str | None:
    return None if found is None else str(found["data"]["a"])


@pytest.fixture
async def behind(local: LocalKubernetes) -> AsyncIterator[tuple[SwallowingProxy, Kubernetes]]:
    """A client that reaches the API through a proxy."""
    async with SwallowingProxy(local.port).running() as proxy, reaching(local.through(proxy.port)) as client:
        yield proxy, client


async def test_what_comes_changes_and_goes_is_told_once_and_others_never(objects: Kubernetes) -> None:
    await objects.apply(secret("before"), NAMESPACE)
    async with Followed(objects).following() as followed:
        assert set(followed.informer.objects) == {"before"}
        await objects.apply(secret("foreign", labels={}), NAMESPACE)
        made = await objects.apply(secret("later"), NAMESPACE)
        await objects.apply(secret("later", "Yg=="), NAMESPACE)
        await followed.until({"before", "later"})
        await objects.delete(SECRETS, made)
        await followed.until({"before"})
        assert followed.told == [(None, "YQ=="), (None, "YQ=="), ("YQ==", "Yg=="), ("Yg==", None)]
        assert "managedFields" not in followed.informer.objects["before"]


async def test_what_loses_its_labels_is_gone(objects: Kubernetes) -> None:
    made = await objects.apply(secret("a"), NAMESPACE)
    async with Followed(objects).following() as followed:
        await objects.replace(SECRETS, NAMESPACE, {**made, "metadata": {**made["metadata"], "labels": {}}})
        await followed.until(set())


async def test_a_connection_that_breaks_is_made_anew_and_nothing_is_missed_or_told_twice(
    objects: Kubernetes, behind: tuple[SwallowingProxy, Kubernetes]
) -> None:
    proxy, client = behind
    async with Followed(client).following() as followed:
        for number in range(5):
            proxy.cut()
            await objects.apply(secret(f"s{number}"), NAMESPACE)
            await followed.until({f"s{n}" for n in range(number + 1)})
        assert followed.told == [(None, "YQ==")] * 5


async def test_a_connection_that_is_dead_though_it_looks_healthy_is_found_out(
    objects: Kubernetes, behind: tuple[SwallowingProxy, Kubernetes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "WATCH", 1)
    monkeypatch.setattr("kai_airflow.bridge.cluster.client.LINGER", 0.5)
    proxy, client = behind
    async with Followed(client).following() as followed:
        proxy.swallow()
        await objects.apply(secret("a"), NAMESPACE)
        await followed.until({"a"}, 15)


async def test_an_api_that_was_killed_and_has_forgotten_all_is_listed_anew(
    local: LocalKubernetes, objects: Kubernetes, caplog: pytest.LogCaptureFixture
) -> None:
    await objects.apply(secret("old"), NAMESPACE)
    async with Followed(objects).following() as followed:
        local.kill()
        local.start()
        await objects.apply(secret("new"), NAMESPACE)
        await followed.until({"new"})
        assert followed.informer.trouble == ""
    assert len([line for line in caplog.messages if "cannot" in line]) <= 3  # each trouble once


async def test_a_history_that_was_forgotten_is_no_trouble(objects: Kubernetes) -> None:
    followed = Followed(objects)
    followed.informer._version = "1"
    followed.informer.objects["gone"] = secret("gone")
    await objects.apply(secret("a"), NAMESPACE)
    async with followed.following():
        assert set(followed.informer.objects) == {"a"}
        assert ("YQ==", None) in followed.told


async def test_thousands_of_watches_leave_nothing_behind(
    behind: tuple[SwallowingProxy, Kubernetes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off by the server's side in the middle, again and again."""
    monkeypatch.setattr(informer, "PAUSES", (0.0,))
    proxy, client = behind
    async with Followed(client).following() as followed:
        await _rounds(proxy, 50)
        gc.collect()
        before = _counts()
        await _rounds(proxy, 2000)
        gc.collect()
        after = _counts()
        assert followed.informer.synced.is_set()
    assert after[0] <= before[0] + 5  # tasks
    assert after[1] <= before[1] + 500  # objects of classes of aiohttp, of which each request has dozens


async def _rounds(proxy: SwallowingProxy, count: int) -> None:
    """Each connection is cut as soon as it is there."""
    end = proxy.connections + count
    async with asyncio.timeout(60):
        while proxy.connections < end:
            proxy.cut()
            await asyncio.sleep(0.001)


def _counts() -> tuple[int, int]:
    return len(asyncio.all_tasks()), sum(str(type(one).__module__).startswith("aiohttp") for one in gc.get_objects())


async def test_a_namespace_that_may_not_be_read_is_told_once_and_tried_again(
    local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(informer, "PAUSES", (0.01,))
    config: dict[str, Any] = dict(local.through(local.port).config)
    config["users"][0]["user"]["token"] = "wrong"
    async with reaching(Cluster(NAMESPACE, config=config)) as client:
        followed = Followed(client)
        async with at_work(followed.informer.follow()):
            async with asyncio.timeout(10):
                while not followed.informer.trouble:  # noqa: ASYNC110 - a trouble makes no event
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
    assert "401" in followed.informer.trouble
    assert len([line for line in caplog.messages if "401" in line]) == 1
    assert not followed.informer.synced.is_set()
