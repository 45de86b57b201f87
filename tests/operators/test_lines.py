"""A log stream cut into lines."""

from __future__ import annotations

from datetime import UTC, datetime

from kai_airflow.operators.lines import LONGEST, Lines


def stamp(n: int) -> str:
    return f"2026-01-02T03:04:05.{n:09d}Z"


def given(lines: Lines, *chunks: bytes) -> list[str]:
    return [line for chunk in chunks for line in lines.split(chunk)]


def test_lines_come_without_their_times_whatever_the_chunks() -> None:
    raw = f"{stamp(1)} one\n{stamp(2)} two words\n{stamp(3)} \n".encode()
    assert given(Lines(), *[raw[n : n + 1] for n in range(len(raw))]) == ["one", "two words", ""]
    assert given(Lines(), raw) == ["one", "two words", ""]


def test_a_last_line_without_an_end_is_given_when_the_stream_ends() -> None:
    lines = Lines()
    assert given(lines, f"{stamp(1)} no end".encode()) == []
    assert list(lines.ended()) == ["no end"]


def test_after_reopening_each_line_is_given_once_even_where_several_bear_one_time() -> None:
    lines = Lines()
    first = f"{stamp(1)} a\n{stamp(2)} b\n{stamp(2)} c\n".encode()
    assert given(lines, first) == ["a", "b", "c"]
    lines.reopened(0)
    again = first + f"{stamp(2)} d\n{stamp(3)} e\n".encode()
    assert given(lines, again) == ["d", "e"]


def test_a_line_cut_off_by_a_lost_connection_is_given_whole_after_reopening() -> None:
    lines = Lines()
    assert given(lines, f"{stamp(1)} a\n{stamp(2)} hal".encode()) == ["a"]
    lines.reopened(0)
    assert given(lines, f"{stamp(1)} a\n{stamp(2)} half\n".encode()) == ["half"]


def test_reopening_asks_for_the_time_since_the_last_line() -> None:
    lines = Lines()
    assert lines.reopened(1000.0) is None
    given(lines, f"{stamp(500_000_000)} a\n".encode())
    last = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC).timestamp()
    assert lines.reopened(last + 10) == 12
    assert lines.reopened(last - 3600) == 1


def test_a_line_of_the_kubelets_own_has_no_time_and_disturbs_nothing() -> None:
    lines = Lines()
    own = b"failed to create fsnotify watcher: too many open files\n"
    assert given(lines, f"{stamp(1)} a\n".encode(), own) == ["a", own.decode().strip()]
    lines.reopened(0)
    assert given(lines, f"{stamp(1)} a\n{stamp(2)} b\n".encode()) == ["b"]


def test_times_of_a_node_in_another_time_zone_or_with_fewer_digits_are_understood() -> None:
    lines = Lines()
    assert given(lines, b"2026-01-02T05:04:05.5+02:00 a\n") == ["a"]
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert lines.reopened(moment + 120) == 121
    assert given(lines, b"2026-01-02T05:04:05.500000000+02:00 a\n2026-01-02T05:04:05.51+02:00 b\n") == ["b"]


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    lines = Lines()
    pieces = given(lines, f"{stamp(1)} ".encode(), *[b"x" * 10_000] * 100, f"\n{stamp(2)} next\n".encode())
    assert "".join(pieces[:-1]) == "x" * 1_000_000
    assert max(len(piece) for piece in pieces) <= LONGEST + 10_000
    assert pieces[-1] == "next"


def test_bytes_that_are_not_text_are_shown() -> None:
    assert given(Lines(), stamp(1).encode() + b" \xff\xfe\n") == ["\\xff\\xfe"]
