"""A task's messages, from manifests that may be anything."""

from __future__ import annotations

from typing import Any

import pytest

from kai_airflow.messaging.tries import Manifest
from kai_airflow.plan.names import Stream
from kai_airflow.ui.messages import LONGEST, Channel, messages
from kai_airflow.ui.shelf import Left
from tests.streaming import process_of, streaming

WORKER = process_of(streaming(), "worker")


def left(process: str, channels: dict[str, dict[str, tuple[int, ...]]], state: str = "success") -> Left:
    return Left(state, Manifest(Stream("RUNS_shop_train"), process, 3, 2, 1, channels, 0.5).to_json())


def test_what_it_was_fed_is_what_upstream_published_for_it() -> None:
    feeder = WORKER.feeds[0]
    tasks = {
        feeder.process: left(feeder.process, {feeder.channel: {"t1": (4, 5)}, "other": {"t1": (6,)}}),
        "worker": left("worker", {"": {"t2": (7,), "t2-1": (8, 9)}}),
    }
    found = messages(tasks, "worker", WORKER)
    assert found.fed == (Channel(feeder.process, feeder.channel, 2, "4-5"),)
    assert found.manifest is not None
    assert (found.manifest.fed, found.manifest.good, found.manifest.bad) == (3, 2, 1)
    assert found.manifest.latency == 0.5
    assert found.manifest.channels == (Channel("worker", "", 3, "7,8-9"),)


def test_what_an_upstream_left_that_did_not_succeed_was_not_fed() -> None:
    feeder = WORKER.feeds[0]
    tasks = {
        feeder.process: left(feeder.process, {feeder.channel: {"t1": (4,)}}, "failed"),
        "worker": Left("skipped", None),
    }
    assert messages(tasks, "worker", WORKER).fed == ()


def test_without_a_krt_nobody_knows_what_feeds_it() -> None:
    assert messages({"worker": left("worker", {})}, "worker", None).fed is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [],
        {},
        {"process": "p", "stream": "s", "fed": "x", "good": 0, "bad": 0, "channels": {}},
        {"process": "p", "stream": "s", "fed": 0, "good": 0, "bad": 0, "channels": {"": {"count": 1}}},
        {"process": "p", "stream": "s", "fed": 0, "good": 0, "bad": 0, "channels": [1]},
    ],
)
def test_what_is_no_manifest_is_none(value: Any) -> None:
    assert messages({"worker": Left("success", value)}, "worker", WORKER).manifest is None


def test_a_range_is_shown_as_it_is_written_however_many_it_stands_for() -> None:
    said = {"process": "p", "stream": "s", "fed": 0, "good": 0, "bad": 0}
    said |= {"channels": {"": {"count": 1, "sequences": {"t": "1-99999999999999"}}}}
    found = messages({"worker": Left("success", said)}, "worker", None).manifest
    assert found is not None
    assert found.channels[0].sequences == "1-99999999999999"


def test_sequences_are_cut_where_nobody_would_read_them() -> None:
    found = messages({"worker": left("worker", {"": {"t": tuple(range(1, 5000, 2))}})}, "worker", None).manifest
    assert found is not None
    assert len(found.channels[0].sequences) == LONGEST + 1
