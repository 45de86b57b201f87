"""Which messages a run carries, as its conf says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.messaging.errors import OriginError
from kai_airflow.messaging.origin import PREFIX, REPLAY_PREFIX, Origin, is_origin, without

ORIGIN = Origin("shop_v1_0_0_train", "20260102T030405123456Z", "first", (5, 6, 7, 9), 1767323045123456)


@given(st.sets(st.integers(1, 2**62), min_size=1, max_size=50), st.integers(0, 2**53 + 7))
def test_it_is_read_as_it_was_written(sequences: set[int], published: int) -> None:
    origin = replace(ORIGIN, sequences=tuple(sorted(sequences)), published=published)
    assert is_origin(origin.to_conf())
    assert Origin.from_conf(origin.to_conf()) == origin


def test_run_ids_tell_streams_made_at_other_times_and_replays_apart() -> None:
    assert ORIGIN.run_id == "kai__20260102T030405123456Z__5"
    assert ORIGIN.replay_id("now") == "kai-replay__now__20260102T030405123456Z__5"
    assert replace(ORIGIN, created="20270102T030405123456Z").run_id != ORIGIN.run_id
    assert not REPLAY_PREFIX.startswith(PREFIX)


@pytest.mark.parametrize(
    "change",
    [
        {"sequences": ""},
        {"sequences": "a"},
        {"sequences": "5-"},
        {"sequences": "9-5"},
        {"sequences": "5,4"},
        {"sequences": "5,5"},
        {"sequences": "0"},
        {"sequences": "-5"},
        {"sequences": 5},
        {"sequences": ["5"]},
        {"sequences": None},
        {"sequences": "1-99999999999999"},
        {"sequences": ",".join(["1-900000"] * 3)},
        {"published": "x"},
        {"published": None},
        {"stream": 1},
        {"created": None},
        {"trigger": []},
    ],
)
def test_what_the_bridge_does_not_write_is_an_error_with_a_remedy(change: dict[str, Any]) -> None:
    """A person may put anything into a conf; naming a million million messages must not fill the memory."""
    with pytest.raises(OriginError, match="Remedy"):
        Origin.from_conf({**ORIGIN.to_conf(), **change})


@pytest.mark.parametrize("key", ["stream", "created", "trigger", "sequences", "published"])
def test_what_lacks_a_key_is_an_error(key: str) -> None:
    conf = ORIGIN.to_conf()
    del conf[key]
    with pytest.raises(OriginError):
        Origin.from_conf(conf)


def test_a_persons_conf_is_none() -> None:
    assert not is_origin({"payload": {"sequences": "5"}})


def test_messages_of_another_trigger_or_stream_are_others() -> None:
    assert ORIGIN.is_of(replace(ORIGIN, sequences=(1,), published=1))
    changes: list[dict[str, Any]] = [{"stream": "x"}, {"created": "x"}, {"trigger": "x"}]
    for change in changes:
        assert not ORIGIN.is_of(replace(ORIGIN, **change))


def test_what_is_done_is_left_out_in_order() -> None:
    assert without((5, 6, 7, 9), (6, 9, 100)) == (5, 7)
