"""``kai-airflow deadletters``: messages that could become no run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.runs import deadletters
from kai_airflow.cli.confirming import confirmed
from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.codec import Message, encode, pack
from kai_airflow.messaging.reading import stored
from kai_airflow.plan import names
from tests.cli.conftest import DAG, STREAM, Desk, krt

if TYPE_CHECKING:
    from kai_airflow.bridge.runs.deadletters import DeadLetter

GARBAGE = bytes(range(256)) + b"and more \x1b[31m"


async def bury(desk: Desk, data: bytes, reason: str = "nobody can read it") -> DeadLetter:
    """A message that became a dead letter."""
    sequence = await desk.publish_bytes(data)
    await deadletters.bury(desk.connection, STREAM, await desk.created(), sequence, reason=reason, attempts=3)
    return [one async for one in deadletters.listed(desk.connection)][-1]


async def letters(desk: Desk) -> list[int]:
    return [one.number async for one in deadletters.listed(desk.connection)]


async def settled(desk: Desk) -> dict[str, bytes | None]:
    """What is written down of dead letters that are gone."""
    found = {}
    for sequence in range(1, 20):
        raw = await stored(desk.connection, STREAM, sequence)
        if raw is not None and str(raw.subject).startswith(names.settled_subject(STREAM, "")):
            found[str(raw.subject).rpartition(".")[2]] = raw.data
    return found


@pytest.fixture(autouse=True)
async def _streams(desk: Desk) -> None:
    await desk.prepare()


async def test_they_are_listed_each_on_a_line_with_its_dag_and_reason(desk: Desk) -> None:
    await bury(desk, GARBAGE, "it is \x1b[31m broken\nsays the codec")
    await bury(desk, b"", "empty")
    ran = await desk.run("deadletters", "list")
    assert ran.code == 0, ran.err
    head, first, second = ran.out.splitlines()
    assert head.split() == ["number", "died", "DAG", "message", "attempts", "reason"]
    assert first.split()[0] == "1"
    assert first.split()[3:6] == [DAG, "1", "3"]
    assert first.endswith(r"it is \x1b[31m broken says the codec")
    assert second.split()[-1] == "empty"
    assert ran.err == "2 dead letter(s)\n"


async def test_as_json_each_is_an_object_without_its_data(desk: Desk) -> None:
    letter = await bury(desk, GARBAGE)
    (line,) = (await desk.run("deadletters", "list", "--json")).out.splitlines()
    assert json.loads(line) == {
        "number": 1,
        "died": letter.died.isoformat(),
        "stream": STREAM,
        "created": await desk.created(),
        "sequence": 1,
        "subject": f"{STREAM}.start",
        "attempts": 3,
        "reason": "nobody can read it",
        "bytes": len(GARBAGE),
    }


async def test_of_one_dag_only_its_own_are_listed(desk: Desk) -> None:
    desk.write(krt(), product="other")
    await bury(desk, GARBAGE)
    assert (await desk.run("deadletters", "list", "--dag", DAG, "--json")).out.count("\n") == 1
    assert (await desk.run("deadletters", "list", "--dag", "other.train", "--json")).out == ""
    assert (await desk.run("deadletters", "list", "--dag", "shop.trian")).code == 2


async def test_without_any_the_list_is_empty_and_all_is_well(desk: Desk) -> None:
    await desk.connection.js.delete_stream(names.DEAD_LETTERS)  # as before the first bridge
    ran = await desk.run("deadletters", "list")
    assert (ran.code, ran.out, ran.err) == (0, "", "0 dead letter(s)\n")


async def test_one_that_can_be_read_is_shown_with_its_message(desk: Desk) -> None:
    await bury(desk, encode(Message("mine", pack({"größe": "\x1b[31m"}), from_node="start"), 1 << 20), "refused")
    ran = await desk.run("deadletters", "show", "1")
    assert ran.code == 0, ran.err
    assert "reason:     refused" in ran.out
    message = json.loads(ran.out[ran.out.index("{") :])
    assert message["payload"] == {"größe": "\x1b[31m"}
    assert (message["request_id"], message["from_node"], message["type"]) == ("mine", "start", "OK")
    assert "\x1b" not in ran.out
    assert json.loads((await desk.run("deadletters", "show", "1", "--json")).out)["message"] == message


async def test_one_that_nobody_can_read_is_shown_by_its_first_bytes_and_raw_as_it_is(desk: Desk) -> None:
    await bury(desk, GARBAGE)
    ran = await desk.run("deadletters", "show", "1")
    assert "00000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO\n" in ran.out
    assert ran.out.endswith(f"... {len(GARBAGE) - 256} more byte(s): see --raw\n")
    raw = await desk.start("deadletters", "show", "1", "--raw")
    assert (await raw.process.communicate())[0] == GARBAGE


async def test_one_that_is_not_there_is_told(desk: Desk) -> None:
    for words in (["show", "7"], ["redrive", "7"], ["drop", "7", "--yes"]):
        ran = await desk.run("deadletters", *words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "kai-airflow: no dead letter 7. Remedy: kai-airflow deadletters list\n"


async def test_a_redriven_one_is_back_in_its_stream_and_no_dead_letter_any_more(desk: Desk) -> None:
    await bury(desk, GARBAGE)
    await bury(desk, b"other")
    ran = await desk.run("deadletters", "redrive", "1")
    assert (ran.code, ran.out) == (0, f"1 is message 3 of {STREAM}\n"), ran.err
    raw = await stored(desk.connection, STREAM, 3)
    assert raw is not None
    assert (raw.subject, raw.data) == (f"{STREAM}.start", GARBAGE)
    assert (raw.headers or {})[deadletters.ATTEMPTS] == "3"
    assert await letters(desk) == [2]
    assert await settled(desk) == {"1": b"redriven"}


async def test_all_of_a_dag_are_redriven_at_once(desk: Desk) -> None:
    await bury(desk, GARBAGE)
    await bury(desk, b"other")
    ran = await desk.run("deadletters", "redrive", "--dag", DAG, "--json")
    assert [json.loads(line)["number"] for line in ran.out.splitlines()] == [1, 2]
    assert await letters(desk) == []


async def test_one_whose_stream_is_gone_stays_and_keeps_no_other_back(desk: Desk) -> None:
    await bury(desk, GARBAGE)
    await desk.connection.js.delete_stream(STREAM)
    ran = await desk.run("deadletters", "redrive", "--all")
    assert (ran.code, ran.out) == (2, "")
    assert f"dead letter 1 stays one: no stream {STREAM} takes in {STREAM}.start" in ran.err
    assert await letters(desk) == [1]
    await desk.prepare()
    await bury(desk, b"other")
    assert (await desk.run("deadletters", "redrive", "--all")).code == 0
    assert await letters(desk) == []
    assert await settled(desk) == {"1": b"redriven"}  # of the stream as it is now, message 1 is the other's


async def test_dropping_needs_somebody_to_say_yes(desk: Desk) -> None:
    await bury(desk, GARBAGE)
    ran = await desk.run("deadletters", "drop", "1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "kai-airflow: Delete 1 dead letter(s) for good: 1? Nobody can be asked here. Remedy: say --yes.\n"
    assert await letters(desk) == [1]
    ran = await desk.run("deadletters", "drop", "1", "--yes")
    assert (ran.code, ran.out) == (0, "1 is dropped\n")
    assert await letters(desk) == []
    assert await settled(desk) == {"1": b"dropped"}


class Terminal:
    """Somebody who types."""

    def __init__(self, typed: str) -> None:
        self._typed = typed

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._typed


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False), ("yellow\n", False)],
)
def test_at_a_terminal_only_a_yes_is_one(
    typed: str, wanted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert confirmed("Delete?", yes=False) is wanted
    assert capsys.readouterr() == ("", "Delete? [y/N] ")


def test_without_a_terminal_a_yes_must_have_been_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "isatty", lambda _: False)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert confirmed("Delete?", yes=True)
    with pytest.raises(KaiAirflowError, match="say --yes"):
        confirmed("Delete?", yes=False)
