"""How long Events live. (What owner references do is tested over HTTP.)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kai_airflow.local.kubernetes.garbage import EVENT_LIFE, old_events
from kai_airflow.local.kubernetes.metadata import rfc3339
from kai_airflow.local.kubernetes.store import Key, Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_events_are_forgotten_after_an_hour_and_nothing_else_is() -> None:
    store = Store(first=1)
    for kind, name, age in (
        ("events", "old", EVENT_LIFE + timedelta(seconds=1)),
        ("events", "new", EVENT_LIFE - timedelta(seconds=1)),
        ("secrets", "old", 2 * EVENT_LIFE),
    ):
        metadata = {"namespace": "n", "name": name, "creationTimestamp": rfc3339(NOW - age)}
        store.put(Key(kind, "n", name), {"metadata": metadata})
    assert old_events(store, NOW) == [Key("events", "n", "old")]
