"""The store alone: versions, history, change and end."""

from __future__ import annotations

import asyncio

import pytest

from kai_airflow.local.kubernetes.errors import ApiError
from kai_airflow.local.kubernetes.store import Key, Store

KEY = Key("secrets", "n", "s")


def obj(value: int) -> dict[str, object]:
    return {"metadata": {"name": "s"}, "value": value}


def test_each_write_takes_the_next_version() -> None:
    store = Store(first=10)
    versions = [store.put(KEY, obj(1)), store.put(KEY, obj(2)), store.remove(KEY)]
    assert [one["metadata"]["resourceVersion"] for one in versions] == ["11", "12", "13"]
    assert [(change.old is None, change.new is None) for change in store.since(10)] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip


def test_the_same_content_is_no_write() -> None:
    store = Store(first=10)
    first = store.put(KEY, obj(1))
    assert store.put(KEY, obj(1)) is first
    assert store.version == 11


def test_the_history_is_bounded_and_says_so() -> None:
    store = Store(first=10, history=2)
    for value in range(5):
        store.put(KEY, obj(value))
    assert [change.version for change in store.since(13)] == [14, 15]
    for version in (12, 16):
        with pytest.raises(ApiError) as gone:
            store.since(version)
        assert gone.value.code == 410


async def test_who_waits_is_woken_by_a_change_and_by_the_end() -> None:
    store = Store(first=10)
    assert not await store.changed(10, timeout=0.01)
    waiting = asyncio.create_task(store.changed(10, timeout=5))
    await asyncio.sleep(0)
    store.put(KEY, obj(1))
    assert await waiting
    following = asyncio.create_task(collect(store))
    await asyncio.sleep(0)
    store.put(KEY, obj(2))
    await asyncio.sleep(0)
    store.close()
    assert await asyncio.wait_for(following, 5) == [11, 12]


async def collect(store: Store) -> list[int]:
    return [change.version async for change in store.changes(10)]
