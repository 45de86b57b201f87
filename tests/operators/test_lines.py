"""A log stream cut into lines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from kai_airflow.operators import lines as lines_module
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
    assert max(len(piece) for piece in pieces) <= LONGEST
    assert pieces[-1] == "next"


def test_bytes_that_are_not_text_are_shown() -> None:
    assert given(Lines(), stamp(1).encode() + b" \xff\xfe\n") == ["\\xff\\xfe"]


def test_a_long_line_that_is_cut_off_goes_on_where_it_was() -> None:
    lines = Lines()
    long = "é" * (LONGEST * 2)
    raw = f"{stamp(1)} before\n{stamp(2)} {long}\n{stamp(3)} after\n".encode()
    first = given(lines, raw[: LONGEST + 5_001])
    lines.reopened(0)
    then = given(lines, raw)
    assert "".join(first + then) == f"before{long}after"
    assert (first[0], then[-1]) == ("before", "after")


def test_a_torn_line_that_never_comes_again_is_given_as_far_as_it_came() -> None:
    """Its node has thrown the older part of the log away."""
    lines = Lines()
    assert given(lines, f"{stamp(1)} a\n{stamp(2)} hal".encode()) == ["a"]
    lines.reopened(0)
    assert given(lines, f"{stamp(7)} g\n".encode()) == []
    assert lines.lost
    assert lines.reopened(0) is None
    assert given(lines, f"{stamp(7)} g\n".encode()) == ["hal", "g"]
    assert (lines.lost, lines.gaps) == (False, 1)


def test_a_log_asked_for_by_a_clock_that_is_late_is_asked_for_once_more_from_its_start() -> None:
    lines = Lines()
    whole = "".join(f"{stamp(n)} {n}\n" for n in range(5)).encode()
    assert given(lines, whole[: whole.index(b" 2") + 3]) == ["0", "1", "2"]
    lines.reopened(0)
    assert given(lines, f"{stamp(4)} 4\n".encode()) == []
    assert lines.lost
    assert lines.reopened(0) is None
    assert given(lines, whole) == ["3", "4"]
    assert lines.gaps == 0


def test_a_clock_that_was_set_back_loses_and_doubles_nothing() -> None:
    lines = Lines()
    log = [(10, "a"), (11, "b"), (12, "c"), (8, "d"), (9, "e"), (10, "f"), (13, "g")]
    raw = [f"{stamp(moment)} {text}\n".encode() for moment, text in log]
    assert given(lines, *raw[:5]) == ["a", "b", "c", "d", "e"]
    lines.reopened(0)
    assert given(lines, *raw) == ["f", "g"]


def test_the_end_of_a_line_that_began_before_the_time_asked_for_is_not_given_again() -> None:
    """A node keeps a long line in parts, each with a time; what it leaves out by time may be the first of them."""
    lines = Lines()
    assert given(lines, f"{stamp(1)} part one, part two\n{stamp(3)} a\n".encode()) == ["part one, part two", "a"]
    lines.reopened(0)
    assert given(lines, f"part two\n{stamp(3)} a\n{stamp(4)} b\n".encode()) == ["b"]


def test_what_a_kubelet_says_at_every_reopening_is_given_once() -> None:
    lines = Lines()
    own = b"failed to create fsnotify watcher: too many open files"
    assert given(lines, f"{stamp(1)} a\n".encode(), own + b"\n") == ["a", own.decode()]
    for n in (2, 3):
        lines.reopened(0)
        again = "".join(f"{stamp(m)} {m}\n" for m in range(1, n + 1))
        assert given(lines, again.encode(), own + b"\n") == [str(n)]


SHORT = 48  # longer than a time


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Moments that never fall, often equal; lines empty, short and longer than what is given at once."""
    texts = draw(st.lists(st.sampled_from(["", "x", "é€😀", "é€😀" * 12, "y" * SHORT]), min_size=1, max_size=8))
    steps = draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts)))
    moments = [sum(steps[: n + 1]) for n in range(len(steps))]
    return [(moment, f"{n}{text}".encode()) for n, (moment, text) in enumerate(zip(moments, texts, strict=True))]


@settings(deadline=None, max_examples=300)
@given_by(logs(), st.data())
def test_wherever_streams_are_cut_all_is_given_once(log: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Each stream shows the log whole, or from a time that is too early, right or too late, and breaks off anywhere."""

    def shown(since: int) -> bytes:
        return b"".join(stamp(moment).encode() + b" " + text + b"\n" for moment, text in log if moment >= since)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines_module, "LONGEST", SHORT)
        lines, got = Lines(), list[str]()
        for _ in range(data.draw(st.integers(0, 6))):
            whole = lines.reopened(0) is None
            stream = shown(0 if whole else data.draw(st.integers(0, log[-1][0] + 1)))
            end = data.draw(st.integers(0, len(stream)))
            middle = data.draw(st.integers(0, end))
            got += given(lines, stream[:middle], stream[middle:end])
        lines.reopened(0)
        got += [*given(lines, shown(0)), *lines.ended()]
    assert "".join(got) == b"".join(text for _, text in log).decode()
    assert max(len(line.encode()) for line in got) <= SHORT
    assert {text.decode() for _, text in log if len(text) <= SHORT} <= set(got)
