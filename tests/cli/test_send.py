"""``kai-airflow send``: a request as a trigger sends it, and what comes back."""

from __future__ import annotations

import json
import signal
import uuid
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.runs import sending
from kai_airflow.bridge.runs.groups import Groups
from kai_airflow.bridge.runs.replies import PART, Record
from kai_airflow.bridge.runs.requests import run_request
from kai_airflow.messaging.codec import Message, MessageType, decode, encode, pack, unpack
from kai_airflow.messaging.errors import NoStreamError
from kai_airflow.messaging.reading import stored
from kai_airflow.plan import names
from tests.cli.conftest import DAG, PER_RUN, STREAM, krt, process

if TYPE_CHECKING:
    from pathlib import Path

    from kai_airflow.messaging.origin import Origin
    from tests.cli.conftest import Desk
    from tests.conftest import NatsServer

LISTENING = process("also", "trigger", "exit")


async def stored_message(desk: Desk, sequence: int) -> tuple[str, Message]:
    raw = await stored(desk.connection, STREAM, sequence)
    assert raw is not None
    assert raw.data is not None
    return str(raw.subject), decode(raw.data)


async def reply(desk: Desk, origin: Origin, message: Message, channel: str = "", number: int = 0) -> None:
    """Send a reply as the bridge does."""
    subject = f"{names.output_subject(STREAM, 'exit')}{channel and '.'}{channel}"
    headers = {PART: f"{origin.run_id} {number}"}
    await desk.connection.js.publish(subject, encode(message, 1 << 20), headers=headers)


async def test_a_request_stands_where_the_trigger_would_have_published_it(desk: Desk) -> None:
    await desk.prepare()
    ran = await desk.run("send", DAG, '{"n": [1, 2.5, "größe"]}', "--request-id", "mine", "--json")
    assert ran.code == 0, ran.err
    subject, message = await stored_message(desk, 1)
    assert subject == f"{STREAM}.start"
    assert message == Message("mine", pack({"n": [1, 2.5, "größe"]}), from_node="start")
    assert ran.err == f"request mine is message 1 of {STREAM}\n"
    assert json.loads(ran.out) == {"request_id": "mine", "stream": STREAM, "sequence": 1, "trigger": "start"}


async def test_without_an_id_a_request_gets_a_new_uuid(desk: Desk) -> None:
    await desk.prepare()
    for _ in range(2):
        assert (await desk.run("send", DAG)).code == 0
    ids = [(await stored_message(desk, n))[1].request_id for n in (1, 2)]
    assert len({uuid.UUID(one) for one in ids}) == 2


async def test_the_payload_comes_from_a_file_standard_input_or_is_null(desk: Desk, tmp_path: Path) -> None:
    await desk.prepare()
    file = tmp_path / "request.json"
    file.write_text('{"from": "a file"}')
    for words, given in ((["--file", str(file)], b""), (["-"], b'"stdin"'), (["--file", "-"], b"[1]"), ([], b"")):
        ran = await desk.run("send", DAG, *words, given=given)
        assert ran.code == 0, ran.err
    payloads = [unpack((await stored_message(desk, n))[1].payload) for n in (1, 2, 3, 4)]
    assert payloads == [{"from": "a file"}, "stdin", [1], None]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([DAG, '{"a": }'], "JSON: not JSON: line 1, column 7"),
        ([DAG, "--file", "absent.json"], "--file: absent.json: No such file"),
        ([DAG, '{"a": NaN}'], "payload at $.a: nan is not JSON"),
        (["shop.trian"], "no DAG 'shop.trian' of a KRT below "),
        ([DAG, "--trigger", "exit"], "no trigger 'exit'. Remedy: Use start."),
    ],
)
async def test_what_cannot_be_sent_is_told_with_a_remedy(desk: Desk, words: list[str], said: str) -> None:
    await desk.prepare()
    ran = await desk.run("send", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert await stored(desk.connection, STREAM, 1) is None


async def test_an_unknown_dag_is_told_with_those_that_there_are_the_most_alike_first(desk: Desk) -> None:
    desk.write(krt(), product="zoo")
    desk.write(krt(), product="shops")
    assert "Remedy: Use shops.train, shop.train or zoo.train." in (await desk.run("send", "shops.trian")).err


async def test_of_several_triggers_one_has_to_be_named(desk: Desk) -> None:
    desk.write(krt(LISTENING))
    await desk.prepare("start", "also", "exit")
    ran = await desk.run("send", DAG, "1")
    assert ran.code == 2
    assert "there are 2 triggers. Remedy: name one with --trigger: start or also." in ran.err
    assert (await desk.run("send", DAG, "1", "--trigger", "also")).code == 0
    assert (await stored_message(desk, 1))[0] == f"{STREAM}.also"


async def test_a_stream_that_a_bridge_is_about_to_make_is_waited_for(desk: Desk) -> None:
    sends = await desk.start("send", DAG, "1")
    await sends.says(f"waiting for stream {STREAM}")
    await desk.prepare()
    assert (await sends.ended()).code == 0
    assert (await stored_message(desk, 1))[1].from_node == "start"


async def test_a_stream_that_nobody_makes_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.0)
    with pytest.raises(NoStreamError, match="see that `kai-airflow bridge` runs"):
        await sending.send(desk.connection, desk.workflow(), "start", 1, "r")


async def test_a_reply_is_printed_as_soon_as_the_run_is_answered(desk: Desk) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait")
    line = await sends.says("its run will be ")
    origin = await desk.origin(1)
    assert line == f"its run will be {origin.run_id}\n"
    record = Record(desk.connection, STREAM, 1)
    await record.take()
    await reply(desk, origin, Message("another", pack("not for us"), from_node="exit"))
    await reply(desk, origin, Message("mine", pack({"größe": 2}), from_node="exit"), number=1)
    await record.end()
    ran = await sends.ended()
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {"größe": 2}


async def test_of_several_replies_each_is_a_line_with_its_channel(desk: Desk) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait")
    await sends.says("its run will be ")
    origin, record = await desk.origin(1), Record(desk.connection, STREAM, 1)
    await record.take()
    for number, channel in enumerate(["", "more.yet"]):
        await reply(desk, origin, Message("mine", pack(number), from_node="exit"), channel, number)
    await record.end()
    ran = await sends.ended()
    assert ran.code == 0, ran.err
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"request_id": "mine", "exit": "exit", "channel": "", "payload": 0},
        {"request_id": "mine", "exit": "exit", "channel": "more.yet", "payload": 1},
    ]


async def test_an_error_that_comes_back_is_told_and_ends_with_1(desk: Desk) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait")
    await sends.says("its run will be ")
    origin, record = await desk.origin(1), Record(desk.connection, STREAM, 1)
    await record.take()
    await reply(desk, origin, Message("mine", error="no \x1b[31m model", type=MessageType.ERROR))
    await record.end()
    ran = await sends.ended()
    assert (ran.code, ran.out) == (1, "")
    assert "exit replies with an error: no \\x1b[31m model" in ran.err


async def test_a_run_that_ends_without_an_answer_ends_the_waiting_with_1(desk: Desk) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--wait")
    await sends.says("its run will be ")
    record = Record(desk.connection, STREAM, 1)
    await record.take()
    await record.end()
    ran = await sends.ended()
    assert (ran.code, ran.out) == (1, "")
    assert "the run has ended, and none of its exits has sent anything for this request" in ran.err


async def test_where_messages_share_a_run_the_end_of_their_run_counts_and_no_other(desk: Desk) -> None:
    desk.write(krt(more=PER_RUN))
    await desk.prepare()
    others = [await desk.publish(n, f"other-{n}") for n in range(2)]
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait")
    await sends.says("waiting for a reply")
    own = await desk.origin(others[1], 3)
    groups = Groups(desk.connection, STREAM, "start")
    for origin in (await desk.origin(others[0]), own):
        ids = [Message(f"request-{n}", pack(n)) for n in origin.sequences]
        await groups.grouped(1)
        assert await groups.write(run_request(origin, ids))
    assert await sends.says("its run will be ") == f"its run will be {own.run_id}\n"
    for first, message in ((others[0], None), (others[1], Message("mine", pack("ours"), from_node="exit"))):
        record = Record(desk.connection, STREAM, first)
        await record.take()
        if message:
            await reply(desk, own, message)
        await record.end()
    ran = await sends.ended()
    assert (ran.code, ran.out) == (0, '"ours"\n')


async def test_a_nats_server_that_crashes_meanwhile_costs_no_reply(desk: Desk, nats_server: NatsServer) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait")
    await sends.says("its run will be ")
    origin = await desk.origin(1)
    mended = desk.connection.breaks.mended
    nats_server.kill()
    nats_server.start()
    await mended.wait()
    record = Record(desk.connection, STREAM, 1)
    await record.take()
    await reply(desk, origin, Message("mine", pack("after all"), from_node="exit"))
    await record.end()
    ran = await sends.ended()
    assert (ran.code, ran.out) == (0, '"after all"\n'), ran.err


async def test_a_streaming_workflows_first_reply_ends_the_waiting(desk: Desk) -> None:
    desk.write(krt(kind="serving"))
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--request-id", "mine", "--wait", "--json")
    await sends.says("waiting for a reply")
    message = Message("mine", pack(2), from_node="exit")
    await desk.connection.js.publish(names.output_subject(STREAM, "exit"), encode(message, 1 << 20))
    ran = await sends.ended()
    assert ran.code == 0, ran.err
    assert json.loads(ran.out.splitlines()[1])["payload"] == 2


async def test_no_reply_in_time_is_told_with_what_to_look_at(desk: Desk) -> None:
    await desk.prepare()
    ran = await desk.run("send", DAG, "1", "--request-id", "mine", "--wait", "--timeout", "0.2")
    assert (ran.code, ran.out) == (2, "")
    assert "no reply to request mine within 0.2 s. Remedy: see in Airflow whether shop.train is paused" in ran.err


async def test_ctrl_c_ends_the_waiting_with_130_and_no_traceback(desk: Desk) -> None:
    await desk.prepare()
    sends = await desk.start("send", DAG, "1", "--wait")
    await sends.says("its run will be ")
    sends.process.send_signal(signal.SIGINT)
    ran = await sends.ended()
    assert ran.code == 130
    assert "Traceback" not in ran.err
