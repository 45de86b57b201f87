"""What Airflow's log takes of a process's output."""

from __future__ import annotations

import logging
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.kube import PodName
from kai_airflow.operators import shown as module
from kai_airflow.operators.shown import AT_ONCE, LAST, Shown

POD = PodName("training-1", "kai")
EXPLAINED = "The process prints more than this log takes"


@dataclass
class Written:
    """A log in memory, and a clock that tests move."""

    lowest: int = logging.INFO
    lines: list[tuple[int, str]] = field(default_factory=list)
    now: float = 0.0

    def log(self, level: int, event: str, /) -> None:
        if self.isEnabledFor(level):
            self.lines.append((level, event))

    def isEnabledFor(self, level: int, /) -> bool:  # noqa: N802
        return level >= self.lowest

    def shown(self) -> Shown:
        return Shown(self, POD, lambda: self.now)

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


def json_line(level: str, message: str) -> str:
    return f'{{"level":"{level}","msg":"{message}"}}'


def test_each_line_is_shown_at_its_level() -> None:
    written = Written()
    show = written.shown()
    for line in ("plain", json_line("error", "broken"), json_line("warn", "odd")):
        show(line)
    show.ended()
    assert written.lines == [(logging.INFO, "plain"), (logging.ERROR, "broken"), (logging.WARNING, "odd")]


@pytest.mark.parametrize(
    ("lowest", "shown"),
    [(logging.DEBUG, (logging.DEBUG, "detail")), (logging.INFO, (logging.INFO, "DEBUG detail"))],
)
def test_what_a_process_prints_at_debug_is_seen_though_airflow_shows_no_debug(
    lowest: int, shown: tuple[int, str]
) -> None:
    written = Written(lowest)
    written.shown()(json_line("debug", "detail"))
    assert written.lines == [shown]


def test_the_first_and_the_last_lines_of_a_flood_are_shown_and_how_much_is_not() -> None:
    written = Written()
    show = written.shown()
    for n in range(200_000):
        show(f"line {n}")
    show.ended()
    first = written.texts.index(next(text for text in written.texts if text.startswith(EXPLAINED)))
    assert written.texts[:first] == [f"line {n}" for n in range(first)]
    told, *last = written.texts[first + 1 :]
    assert last == [f"line {n}" for n in range(200_000 - len(last), 200_000)]
    missing = range(first, 200_000 - len(last))
    assert told == f"{len(missing)} line(s), {sum(len(f'line {n}') for n in missing)} characters, left out here."
    assert len(last) > 100
    assert sum(map(len, written.texts)) < AT_ONCE + LAST


def test_how_to_see_the_rest_is_said_once() -> None:
    written = Written()
    show = written.shown()
    for _ in range(3):
        written.now += 10_000
        for _ in range(100):
            show("x" * 100_000)
    show.ended()
    explained = [text for text in written.texts if text.startswith(EXPLAINED)]
    assert len(explained) == 1
    assert "kubectl -n kai logs training-1 has" in explained[0]
    assert sum("left out here" in text for text in written.texts) == 3


def test_a_process_that_prints_for_hours_is_shown_in_stretches_at_a_steady_rate() -> None:
    written = Written()
    show = written.shown()
    hours = 5
    for n in range(hours * 3600 * 20):
        written.now = n / 20
        show(f"line {n} " + "x" * 400)
    show.ended()
    assert sum(len(text) + 100 for text in written.texts) < AT_ONCE + LAST * 2 + hours * 3600 * module.A_SECOND
    notes = sum("left out here" in text for text in written.texts)
    assert 0 < notes <= hours * 3600 * module.A_SECOND // module.STRETCH + 1
    assert len(written.texts) > 100 * notes


def test_errors_in_a_flood_are_shown_in_their_place() -> None:
    written = Written()
    show = written.shown()
    for n in range(100_000):
        show(f"line {n}")
        if n % 10_000 == 9_999:
            show(json_line("error", f"failure after {n}"))
    show.ended()
    failures = [text for level, text in written.lines if level == logging.ERROR]
    assert failures == [f"failure after {n}" for n in range(9_999, 100_000, 10_000)]
    place = written.texts.index("failure after 89999")
    assert written.texts[place - 1].startswith("9999 line(s)") or written.texts[place - 1].startswith("10000 line(s)")


def test_errors_without_end_are_a_flood_too() -> None:
    written = Written()
    show = written.shown()
    for n in range(200_000):
        show(json_line("error", f"failure {n}"))
    show.ended()
    assert sum(len(text) + 100 for text in written.texts) < AT_ONCE + module.WARNINGS_AT_ONCE + 2 * LAST


def test_a_flood_does_not_fill_the_memory() -> None:
    class Nowhere(Written):
        def log(self, level: int, event: str, /) -> None:
            pass

    show = Nowhere().shown()
    tracemalloc.start()
    try:
        for n in range(3_000):
            show(f"{n} " + "x" * 60_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@given(st.lists(st.tuples(st.integers(0, 3_000), st.booleans(), st.integers(0, 20)), max_size=60))
def test_what_is_shown_and_what_is_left_out_is_all_there_was(printed: list[tuple[int, bool, int]]) -> None:
    """In its order, and never more than is allowed."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"AT_ONCE": 5_000, "A_SECOND": 100, "STRETCH": 1_000, "LAST": 800}.items():
            patched.setattr(module, name, value)
        written = Written()
        show = written.shown()
        lines = []
        for n, (size, bad, pause) in enumerate(printed):
            written.now += pause
            lines.append(json_line("error" if bad else "info", f"{n}:{'x' * size}"))
            show(lines[-1])
        show.ended()
    messages = [text for text in written.texts if ":" in text[:4]]
    order = [int(text.split(":")[0]) for text in messages]
    left_out = [int(text.split()[0]) for text in written.texts if text.endswith("left out here.")]
    assert order == sorted(set(order))
    assert len(order) + sum(left_out) == len(lines)
    assert 0 not in left_out
