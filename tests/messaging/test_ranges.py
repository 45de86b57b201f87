"""Sequences as text."""

from __future__ import annotations

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
