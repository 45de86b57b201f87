"""What of all is measured."""

from __future__ import annotations

from benchmarks.__main__ import ALL, GROUPS, names


def test_a_group_stands_for_what_is_in_it() -> None:
    assert names(["language", "feeding"]) == {*GROUPS["language"], "feeding"}
    assert names(ALL) == set(ALL)
