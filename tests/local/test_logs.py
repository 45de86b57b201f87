"""Reading the logs of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kai_airflow.local.errors import StackError
from kai_airflow.local.home import Home, locked
from kai_airflow.local.logs import Line, Reader, merged, moment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    with locked(made):
        pass
    return made


def write(home: Home, part: str, text: str) -> None:
    with (home.logs / f"{part}.log").open("a") as log:
        log.write(text)


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("2026-11-25T17:51:31.276927Z [info     ] Worker starting up", "2026-11-25T17:51:31.276927"),
        ("[3972] 2026/11/25 17:51:22.687120 [INF] Server is ready", "2026-11-25T17:51:22.687120"),
        ("2026-11-25 17:51:23.190 UTC [3996] LOG:  starting PostgreSQL", "2026-11-25T17:51:23.190"),
        ("  ____________       _____________", ""),
        ("x" * 50 + "2026-11-25T17:51:31", ""),
        ("", ""),
    ],
)
def test_the_time_of_a_line_is_found_in_the_forms_of_all_parts(line: str, when: str) -> None:
    assert moment(line) == when


def test_lines_of_several_parts_are_in_the_order_of_their_times() -> None:
    a = ["banner", "2026-11-25T17:00:01Z one", "  more of one", "2026-11-25T17:00:03Z three"]
    b = ["[1] 2026/11/25 17:00:02.000 two", "[1] 2026/11/25 17:00:04.000 four"]
    assert texts(merged({"a": a, "b": b})) == [*a[:3], b[0], a[3], b[1]]


def test_the_lines_of_a_part_keep_their_order() -> None:
    lines = ["2026-11-25T17:00:02Z", "2026-11-25T17:00:01Z", "2026-11-25T17:00:03Z"]
    assert texts(merged({"a": lines})) == lines


def test_parts_without_any_time_are_one_after_another() -> None:
    assert list(merged({"a": ["1", "2"], "b": ["3"]})) == [Line("a", "1"), Line("a", "2"), Line("b", "3")]


def test_the_last_lines_are_those_of_each_part(home: Home) -> None:
    write(home, "a", "1\n2\n3\n")
    write(home, "b", "4\n")
    with Reader(home) as reader:
        assert texts(reader.read(2)) == ["2", "3", "4"]
    with Reader(home) as reader:
        assert texts(reader.read(0)) == []
        write(home, "a", "5\n")
        assert texts(reader.read()) == ["5"]


def test_what_comes_later_is_read_later_in_whole_lines(home: Home) -> None:
    write(home, "a", "1\nunfini")
    with Reader(home, ["a"]) as reader:
        assert texts(reader.read()) == ["1"]
        assert texts(reader.read()) == []
        write(home, "a", "shed\nthe end")
        assert texts(reader.read()) == ["unfinished"]
        assert texts(reader.read(unfinished=True)) == ["the end"]


def test_bytes_that_are_no_text_are_shown_as_such(home: Home) -> None:
    (home.logs / "a.log").write_bytes(b"\xff\r\n")
    with Reader(home) as reader:
        assert texts(reader.read()) == ["\ufffd"]


def test_a_part_that_starts_later_is_read_too(home: Home) -> None:
    with Reader(home) as reader:
        assert texts(reader.read()) == []
        write(home, "a", "1\n")
        assert list(reader.read()) == [Line("a", "1")]


def test_a_log_that_a_new_up_replaces_is_read_to_its_end_and_then_the_new_one(home: Home) -> None:
    write(home, "a", "1\n")
    with Reader(home, ["a"]) as reader:
        assert texts(reader.read()) == ["1"]
        write(home, "a", "2\nlast words")
        (home.logs / "a.log").unlink()
        assert texts(reader.read()) == ["2"]
        write(home, "a", "3\n4\n")
        assert texts(reader.read()) == ["last words", "3", "4"]


def test_a_part_that_is_not_there_is_an_error_that_lists_those_that_are(home: Home) -> None:
    write(home, "scheduler", "1\n")
    write(home, "nats-server", "1\n")
    with pytest.raises(StackError, match=r"no part 'x' has a log\. Remedy: .*: nats-server, scheduler\.$"):
        Reader(home, ["x"])


def test_a_folder_that_holds_no_stack_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"absent: no stack was ever kept here\. Remedy: .*--home"):
        Reader(Home(tmp_path / "absent"))
