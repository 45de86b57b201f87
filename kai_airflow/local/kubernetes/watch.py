"""Watches: the store's changes as a client's view sees them."""

import asyncio
from collections.abc import AsyncIterator

from kai_airflow.local.kubernetes.errors import ApiError, Object
from kai_airflow.local.kubernetes.resources import Resource
from kai_airflow.local.kubernetes.selectors import View
from kai_airflow.local.kubernetes.store import Change, Store

PAUSE = 60.0
"""Seconds of silence after which a client that asked for bookmarks gets one."""


async def events(
    store: Store, view: View, resource: Resource, since: int | None, timeout: float, bookmarks: bool
) -> AsyncIterator[Object]:
    """Watch events until `timeout` seconds have passed or the store closes.

    Without a version to start from (None, 0) the objects of now come first, as ADDED. A version that the history
    doesn't reach is an ERROR event, the last one, that holds the 410 Status: so a kube-apiserver answers too.
    """
    if not since:
        since = store.version
        for obj in filter(view.shows, store.select(view.kind, view.namespace)):
            yield {"type": "ADDED", "object": obj}
    end = asyncio.get_running_loop().time() + timeout
    try:
        while (left := end - asyncio.get_running_loop().time()) > 0 and not store.closed:
            for change in store.since(since):
                since = change.version
                if event := _event(view, change):
                    yield event
            if not await store.changed(since, min(left, PAUSE)) and bookmarks:
                yield _bookmark(resource, since)
    except ApiError as error:
        yield {"type": "ERROR", "object": error.status()}


def _event(view: View, change: Change) -> Object | None:
    """An object that comes into the view is ADDED, one that leaves it DELETED, whatever happened to it."""
    if change.key.kind != view.kind:
        return None
    before, after = view.shows(change.old), view.shows(change.new)
    if not before and not after:
        return None
    kind = "DELETED" if not after else "MODIFIED" if before else "ADDED"
    return {"type": kind, "object": _at(change)}


def _at(change: Change) -> Object:
    obj = change.new or change.old or {}
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(change.version)}}


def _bookmark(resource: Resource, version: int) -> Object:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    about = {"kind": resource.kind, "apiVersion": resource.api_version}
    return {"type": "BOOKMARK", "object": {**about, "metadata": metadata}}
