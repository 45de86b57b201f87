"""Sequences as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.messaging import ranges


@given(st.sets(st.integers(1, 2**63)))
def test_what_was_written_is_read_back(numbers: set[int]) -> None:
    rising = tuple(sorted(numbers))
    assert ranges.from_text(ranges.to_text(rising)) == rising


def test_numbers_that_follow_each_other_are_a_few_bytes() -> None:
    assert ranges.to_text(range(1, 100_001)) == "1-100000"
    assert ranges.to_text([5, 6, 7, 9, 11, 12]) == "5-7,9,11-12"
    assert ranges.to_text([]) == ""


@pytest.mark.parametrize("text", ["1-99999999999999", "5,4", "5,5", "9-5", "0", "-5", "5-", "a", "1,,2"])
def test_what_is_not_rising_or_would_fill_the_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rising|more than|invalid literal"):
        ranges.from_text(text)


def test_as_many_numbers_as_are_allowed_are_read() -> None:
    assert len(ranges.from_text("1-5,7-11", most=10)) == 10
    with pytest.raises(ValueError, match="more than 9 numbers"):
        ranges.from_text("1-5,7-11", most=9)
