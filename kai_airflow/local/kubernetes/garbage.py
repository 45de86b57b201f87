"""The garbage collector: objects whose owners are gone, and Events that are old."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kai_airflow.local.kubernetes.api import Api
from kai_airflow.local.kubernetes.errors import Object
from kai_airflow.local.kubernetes.metadata import rfc3339
from kai_airflow.local.kubernetes.query import DeleteOptions
from kai_airflow.local.kubernetes.resources import EVENTS, RESOURCES
from kai_airflow.local.kubernetes.store import Change, Key, Store

EVENT_LIFE = timedelta(hours=1)
"""As a kube-apiserver's default."""


async def collect(api: Api) -> None:
    """Delete each object when the last of its owners is gone, or was never there. Runs until the store closes."""
    async for change in api.store.changes(api.store.version):
        for key in list(_touched(api.store, change)):
            if _orphan(api.store, key):
                _delete(api, key)
                await asyncio.sleep(0)  # who follows the store must not fall behind its history


async def forget(api: Api) -> None:
    """Delete Events older than EVENT_LIFE, looking once a minute. Runs until cancelled."""
    while True:
        await asyncio.sleep(60)
        for key in old_events(api.store, datetime.now(UTC)):
            _delete(api, key)
            await asyncio.sleep(0)


def old_events(store: Store, moment: datetime) -> list[Key]:
    """The Events that are older than EVENT_LIFE at a moment."""
    oldest = rfc3339(moment - EVENT_LIFE)
    found = [event["metadata"] for event in store.select(EVENTS.plural)]
    return [Key(EVENTS.plural, it["namespace"], it["name"]) for it in found if it["creationTimestamp"] < oldest]


def _touched(store: Store, change: Change) -> Iterator[Key]:
    """The objects whose owners a change concerns: one with new owners, or the dependents of one that is gone."""
    if change.new is not None:
        if change.old is None or _owners(change.old) != _owners(change.new):
            yield change.key
        return
    for kind in RESOURCES:
        for obj in store.select(kind):
            if change.old is not None and change.old["metadata"]["uid"] in _owners(obj):
                yield Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])


def _orphan(store: Store, key: Key) -> bool:
    obj = store.get(key)
    owners = _owners(obj) if obj is not None else set()
    return bool(owners) and not any(
        found["metadata"]["uid"] in owners for kind in RESOURCES for found in store.select(kind)
    )


def _owners(obj: Object) -> set[str]:
    return {reference["uid"] for reference in obj["metadata"].get("ownerReferences", ())}


def _delete(api: Api, key: Key) -> None:
    if api.store.get(key) is not None:
        api.delete(RESOURCES[key.kind], key.namespace, key.name, DeleteOptions())
