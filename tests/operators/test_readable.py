"""Lines of processes as Airflow's log shows them."""

from __future__ import annotations

import json
import logging
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_airflow.operators.readable import Readable, readable

GO = (
    '{"level":"error","ts":1708945449.1234567,"logger":"[TASK].[SUBSCRIBER]","caller":"task/subscriber.go:176",'
    '"msg":"Error executing handler","request_id":"1f7a-22","error":"no such model",'
    '"stacktrace":"main.train\\n\\t/app/x.go:7"}'
)
PYTHON = (
    '{"level": "SUCCESS", "ts": 1708945449.12, "logger": "[EXIT].[HANDLER]", "caller": "app/main.py:31", '
    '"msg": "loss is 0.1", "request_id": "1f7a-22", "epoch": 3}'
)


def text(line: str) -> str:
    return readable(line).text


def test_a_line_of_the_go_sdk() -> None:
    assert readable(GO) == Readable(
        logging.ERROR,
        '[request 1f7a-22] Error executing handler  error="no such model" caller=task/subscriber.go:176 '
        'logger="[TASK].[SUBSCRIBER]" ts=2024-02-26T11:04:09.1234567Z\n'
        "  | stacktrace:\n"
        "  | main.train\n"
        "  | \t/app/x.go:7",
    )


def test_a_line_of_the_python_sdk() -> None:
    assert readable(PYTHON) == Readable(
        logging.INFO,
        "[request 1f7a-22] loss is 0.1  level=SUCCESS epoch=3 caller=app/main.py:31 "
        'logger="[EXIT].[HANDLER]" ts=2024-02-26T11:04:09.12Z',
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("debug", logging.DEBUG),
        ("TRACE", logging.DEBUG),
        ("info", logging.INFO),
        ("warn", logging.WARNING),
        ("WARNING", logging.WARNING),
        ("ERROR", logging.ERROR),
        ("CRITICAL", logging.CRITICAL),
        ("fatal", logging.CRITICAL),
        ("dpanic", logging.CRITICAL),
        ("audit", logging.INFO),
    ],
)
def test_the_levels_of_both_sdks(name: str, level: int) -> None:
    assert readable(f'{{"level":"{name}","msg":"x"}}').level == level


@pytest.mark.parametrize(
    "line",
    [
        "",
        "plain text with \x1b[31mcolours\x1b[0m",
        "{not json",
        '{"winner": "go"}',
        '{"level": 3, "msg": "a level that is a number"}',
        '{"level": "info", "msg": {"not": "text"}}',
        '["level", "msg"]',
        '  {"level":"info","msg":"indented"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"level":"info","msg":"x","deep":' + "[" * 5_000 + "]" * 5_000 + "}",
    ],
)
def test_anything_else_stays_as_it_is(line: str) -> None:
    assert readable(line) == Readable(logging.INFO, line)


def test_what_comes_twice_or_has_no_place_is_shown_all_the_same() -> None:
    line = '{"level":"info","msg":"a","msg":"b","level":"debug","request_id":7,"request_id":"","k":"","n":null}'
    assert readable(line) == Readable(logging.INFO, 'a  msg=b level=debug request_id=7 request_id="" k="" n=null')


def test_numbers_keep_every_digit() -> None:
    huge = "9" * 5_000
    line = f'{{"level":"info","msg":"m","a":{huge},"b":1e999,"c":0.10000000000000000001,"d":[NaN,-0.0]}}'
    assert text(line) == f"m  a={huge} b=1e999 c=0.10000000000000000001 d=[NaN, -0.0]"


def test_a_number_is_told_from_text() -> None:
    assert text('{"level":"info","msg":"m","a":1,"b":"1","c":true,"d":"true"}') == 'm  a=1 b="1" c=true d="true"'


def test_no_line_can_pass_for_another() -> None:
    said = "fine\n[2026-01-01] ERROR - all is lost\r\x1b[2Kforged\u2028\u202ebackwards\x00\ud800"
    shown = text(json.dumps({"level": "info", "msg": said, "request_id": "a] \nb", "k\n": "\x1b[1A", "deep": ["\r\n"]}))
    first, *following = shown.split("\n")
    assert all(line.startswith("  | ") for line in following)
    assert shown.replace("\n", "").isprintable()
    assert "\\x1b[2Kforged\\u2028\\u202ebackwards\\x00\\ud800" in shown
    assert first == '[request "a] \\nb"] fine'


def test_spaces_of_other_scripts_are_no_danger() -> None:
    assert text('{"level":"info","msg":"日本\u3000語 12\u00a0km 👩"}') == "日本\u3000語 12\u00a0km 👩"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
LOG_LINES = st.fixed_dictionaries(
    {"level": st.sampled_from(["info", "ERROR", "odd"]), "msg": st.text(st.characters(codec=None))},
    optional={"request_id": JSON, "ts": JSON, "logger": JSON, "error": JSON, "": JSON, "stacktrace": st.text()},
)


@given(st.text(st.characters(codec=None)))
def test_no_text_is_too_much_for_it(line: str) -> None:
    assert readable(line).level == logging.INFO
    assert readable("{" + line).text


@given(LOG_LINES, st.booleans())
def test_every_line_of_json_is_shown_whole_and_on_its_own(said: dict[str, Any], ascii_only: bool) -> None:
    shown = text(json.dumps(said, ensure_ascii=ascii_only))
    assert all(line.startswith("  | ") for line in shown.split("\n")[1:])
    assert all(c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in shown)
    for letters in _letters(said):
        assert letters in shown


def _letters(value: object) -> list[str]:
    """What must be found again of a value: its words, and its numbers as they are written."""
    match value:
        case dict():
            return [word for pair in value.items() if pair[0] not in ("level", "ts", "") for word in _letters(pair[1])]
        case list():
            return [word for item in value for word in _letters(item)]
        case str():
            return [
                "".join(c for c in word if c.isascii()) for word in value.split() if word.isalnum() and word.isascii()
            ]
        case None | bool() | float():
            return []
        case _:
            return [str(value)]
