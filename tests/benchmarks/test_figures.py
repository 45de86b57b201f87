"""Medians and tables, and who made how many requests."""

from __future__ import annotations

from benchmarks.figures import COUNT, RATIO, SECONDS, Table
from benchmarks.proxy import requests
from benchmarks.states import seconds_in


def table() -> Table:
    measured = Table("One task", {"task": SECONDS, "requests": COUNT, "beside": RATIO})
    for seconds, count in ((3.0, 7), (1.0, 6), (2.0, 9)):
        measured.add("a", seconds, count, 1)
    measured.add("b", 0.125, 1, 2.5)
    return measured


def test_a_table_shows_medians_with_least_and_greatest() -> None:
    assert table().markdown() == (
        "### One task\n"
        "\n"
        "|  | task (s) | requests | beside (times) |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a | 2.00 (1.00 to 3.00) | 7 (6 to 9) | 1.00 (1.00 to 1.00) |\n"
        "| b | 0.12 (0.12 to 0.12) | 1 (1 to 1) | 2.50 (2.50 to 2.50) |"
    )


def test_machines_get_every_figure() -> None:
    figures = table().as_dict()["rows"]["a"]["task"]
    assert figures == {"unit": "s", "median": 2.0, "min": 1.0, "max": 3.0, "values": [3.0, 1.0, 2.0]}


def test_the_times_in_a_state_add_up() -> None:
    changes = [("queued", 1.0), ("running", 2.0), ("deferred", 5.0), (None, 20.0), ("running", 21.0), ("success", 22.5)]
    assert seconds_in("running", changes) == 4.5


def test_requests_of_a_connection_are_counted_by_their_first_lines() -> None:
    said = (
        b"POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\n"
        b'{"text": "GET / x"}GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n'
    )
    assert requests(said) == 2
