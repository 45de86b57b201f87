"""Watches over HTTP, through both clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import watch
from kubernetes.client import ApiException

if TYPE_CHECKING:
    from tests.local.kubernetes.conftest import Kube


def seen(kube: Kube, count: int, **params: str) -> list[tuple[str, str]]:
    """Type and name of the first events of a watch on Secrets; fewer where the watch ended."""
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events(kube, count, **params)]


def events(kube: Kube, count: int, **params: str) -> list[dict[str, Any]]:
    params = {"watch": "true", "timeoutSeconds": "10", **params}
    found: list[dict[str, Any]] = []
    with kube.http.stream("GET", f"{kube.url}/secrets", params=params) as response:
        for line in response.iter_lines():
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


def version(kube: Kube) -> str:
    return str(kube.http.get(f"{kube.url}/secrets").json()["metadata"]["resourceVersion"])


@pytest.fixture
def changes(kube: Kube) -> str:
    """A version after which a Secret `a` was created, changed and deleted, and `b` created."""
    start = version(kube)
    kube.secret("a")
    kube.core.patch_namespaced_secret("a", kube.namespace, {"metadata": {"labels": {"app": "x"}}})
    kube.core.delete_namespaced_secret("a", kube.namespace)
    kube.secret("b")
    return start


def test_a_watch_from_a_version_tells_all_that_came_after(kube: Kube, changes: str) -> None:
    assert seen(kube, 4, resourceVersion=changes) == [
        ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b"),
    ]  # fmt: skip


def test_a_watch_that_reconnects_misses_nothing_and_repeats_nothing(kube: Kube, changes: str) -> None:
    first = events(kube, 2, resourceVersion=changes)
    again = seen(kube, 2, resourceVersion=first[-1]["object"]["metadata"]["resourceVersion"])
    assert again == [("DELETED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("params", [{}, {"resourceVersion": "0"}, {"resourceVersion": ""}])
def test_a_watch_without_a_version_begins_with_what_is(kube: Kube, changes: str, params: dict[str, str]) -> None:
    assert seen(kube, 1, **params) == [("ADDED", "b")]


def test_an_object_that_comes_into_a_selector_s_view_is_added_and_one_that_leaves_deleted(
    kube: Kube, changes: str
) -> None:
    kube.core.patch_namespaced_secret("b", kube.namespace, {"metadata": {"labels": {"app": "x"}}})
    kube.core.patch_namespaced_secret("b", kube.namespace, {"metadata": {"labels": {"app": "y"}}})
    assert seen(kube, 4, resourceVersion=changes, labelSelector="app=x") == [
        ("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b"),
    ]  # fmt: skip


def test_a_version_that_the_history_does_not_reach_is_410(kube: Kube) -> None:
    (event,) = events(kube, 2, resourceVersion="1")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    with pytest.raises(ApiException) as gone:
        next(watch.Watch().stream(kube.core.list_namespaced_secret, kube.namespace, resource_version="1"))
    assert gone.value.status == 410


def test_a_version_from_an_earlier_life_of_the_server_is_410(own: Kube) -> None:
    old = version(own)
    own.close()
    own.server.stop()
    again = own.server.start().namespace()
    try:
        (event,) = events(again, 2, resourceVersion=old)
        assert event["object"]["code"] == 410
    finally:
        again.close()


def test_a_watch_ends_in_time_with_a_bookmark_where_asked(kube: Kube) -> None:
    start = version(kube)
    assert events(kube, 9, timeoutSeconds="1", resourceVersion=start) == []
    (bookmark,) = events(kube, 9, timeoutSeconds="1", resourceVersion=start, allowWatchBookmarks="true")
    assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "Secret")
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(start)


def test_a_watch_sees_every_namespace_or_one(kube: Kube, changes: str) -> None:
    other = kube.server.namespace()
    other.secret("elsewhere")
    params = {
        "watch": "true",
        "timeoutSeconds": "10",
        "resourceVersion": changes,
        "fieldSelector": "metadata.name=elsewhere",
    }
    with kube.http.stream("GET", "/api/v1/secrets", params=params) as response:
        assert json.loads(next(response.iter_lines()))["object"]["metadata"]["namespace"] == other.namespace
    other.close()
    assert ("ADDED", "elsewhere") not in seen(kube, 4, resourceVersion=changes)
