"""Objects in memory, under one global counter of versions, with a bounded history for watches."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from kai_airflow.local.kubernetes.errors import Object, expired

HISTORY = 4096
"""Changes that are kept for watches that reconnect."""


class Key(NamedTuple):
    """Where an object lives. The kind is the plural of its URL: `pods`."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One write: the object before (None: created) and after (None: deleted)."""

    version: int
    key: Key
    old: Object | None
    new: Object | None


class Store:
    """All objects. Each write takes the next version after `first` and wakes whoever waits for changes.

    Give `first` a value that grows from one life of the server to the next (the time in milliseconds): a version from
    an earlier life is then too old, and its holder is told to list again.
    """

    def __init__(self, first: int, history: int = HISTORY) -> None:
        self.version = first
        self.closed = False
        self._oldest = first
        self._limit = history
        self._history: dict[int, Change] = {}
        self._objects: dict[str, dict[Key, Object]] = {}
        self._changed = asyncio.Event()

    def get(self, key: Key) -> Object | None:
        """The object, or None."""
        return self._objects.get(key.kind, {}).get(key)

    def select(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Every object of a kind, of one namespace or of all, in order of namespace and name."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if namespace in (None, key.namespace)]

    def put(self, key: Key, obj: Object) -> Object:
        """Keep an object under the next version. An object that is as before is no write."""
        old = self.get(key)
        if old is not None and _content(old) == _content(obj):
            return old
        stamp = {"resourceVersion": str(self.version + 1)}
        new = {**obj, "metadata": {**obj["metadata"], **stamp}}
        self._objects.setdefault(key.kind, {})[key] = new
        self._record(key, old, new)
        return new

    def remove(self, key: Key) -> Object:
        """Take an object out; its last state bears the version of its removal."""
        old = self._objects[key.kind].pop(key)
        self._record(key, old, None)
        return {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}

    def since(self, version: int) -> list[Change]:
        """Every change after `version`, in order. Raises ApiError 410 where the history doesn't reach."""
        if not self._oldest <= version <= self.version:
            raise expired(version, self._oldest)
        return [self._history[number] for number in range(version + 1, self.version + 1)]

    async def changes(self, version: int) -> AsyncIterator[Change]:
        """The changes after `version`, as they come, until the store is closed."""
        while not self.closed:
            for change in self.since(version):
                version = change.version
                yield change
            await self.changed(version)

    async def changed(self, version: int, timeout: float | None = None) -> bool:
        """Wait for a change after `version`, or the end; False when `timeout` seconds passed without."""
        if self.closed or self.version > version:
            return True
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """No more changes come: everyone who waits is woken, to end."""
        self.closed = True
        self._changed.set()

    def _record(self, key: Key, old: Object | None, new: Object | None) -> None:
        self.version += 1
        self._history[self.version] = Change(self.version, key, old, new)
        if len(self._history) > self._limit:
            self._oldest += 1
            del self._history[self._oldest]
        self._changed.set()
        self._changed = asyncio.Event()


def _content(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return {**obj, "metadata": metadata}
