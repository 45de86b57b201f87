"""The product that serves: its processes as the image map starts them, called over HTTP, on a real nats-server."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kai_airflow.demo import rest
from kai_airflow.demo.houses import valuing
from kai_airflow.messaging.codec import MessageType, Payload, pack, unpack
from kai_airflow.process import ProcessError, Reply
from tests.conftest import LiveWorkflow, heard
from tests.demo import callers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Program

PROCESSES = callers.processes("house-prices")
TRIGGER = PROCESSES["rest-trigger"]
LAUNCHED = [name for name in PROCESSES if name != "rest-trigger"]
HOUSE = {"area": 100, "rooms": 4, "built": 1990, "distance": 5}


class Caller:
    def __init__(self, program: Program, client: httpx.AsyncClient) -> None:
        self.program, self.client = program, client

    async def post(self, house: Any) -> httpx.Response:
        return await self.client.post("/price", json=house)


async def serve(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch, **config: str) -> tuple[Program, str]:
    await live.prepare(PROCESSES)
    return await callers.start_server(live, TRIGGER, monkeypatch, **config)


@pytest.fixture
async def caller(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caller]:
    """Who calls the trigger; nothing else of the workflow runs."""
    program, url = await serve(live, monkeypatch)
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield Caller(program, client)


@pytest.fixture
async def product(live: LiveWorkflow, caller: Caller) -> Caller:
    """Who calls the trigger of the whole workflow."""
    await asyncio.gather(*(launched(live, name) for name in LAUNCHED))
    return caller


async def launched(live: LiveWorkflow, name: str) -> None:
    program = await callers.start(live, PROCESSES[name])
    await program.said(f"listening to {live.stream}.{PROCESSES[name]['subscriptions'][-1]}")


async def test_a_house_has_the_price_that_its_features_determine(product: Caller) -> None:
    answer = await product.post(HOUSE)
    price = valuing.price(valuing.learned(), valuing.features(HOUSE))
    assert (answer.status_code, answer.json()) == (200, {"message": f"{price} EUR"})


async def test_calls_at_the_same_time_get_each_its_own_answer(product: Caller) -> None:
    houses = [HOUSE | {"area": area} for area in range(50, 150)]
    answers = await asyncio.gather(*(product.post(house) for house in houses))
    weights = valuing.learned()
    assert [answer.json()["message"] for answer in answers] == [
        f"{valuing.price(weights, valuing.features(house))} EUR" for house in houses
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\x00", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "area has to be a number from 15 to 1000"),
        (json.dumps(HOUSE | {"rooms": 0}).encode(), "rooms has to be a number from 1 to 30"),
        (json.dumps(HOUSE | {"rooms": True}).encode(), "rooms has to be"),
        (json.dumps(HOUSE | {"built": "1990"}).encode(), "built has to be"),
        (json.dumps(HOUSE | {"distance": float("nan")}).encode(), "distance has to be"),
    ],
)
def test_what_is_no_house_is_told_so(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        valuing.house_of({"method": "POST", "body": base64.b64encode(body).decode()})


@pytest.mark.parametrize("request_", [None, [], {}, {"method": "POST"}, {"method": "POST", "body": 1}])
def test_what_is_no_call_is_told_so(request_: Any) -> None:
    with pytest.raises(ValueError, match="POST a house"):
        valuing.house_of(request_)


async def test_what_is_no_house_is_answered_with_400_and_why(product: Caller) -> None:
    for body in (b"{", b'{"area": 1}'):
        answer = await product.client.post("/price", content=body)
        with pytest.raises(ValueError, match=answer.json()["message"]):
            valuing.house_of(rest.request_of("POST", body))
        assert answer.status_code == 400
    for method in ("GET", "DELETE"):
        answer = await product.client.request(method, "/price")
        assert answer.status_code == 400
        assert answer.json()["message"] == "POST a house, as JSON: area, rooms, built, distance"


async def test_an_error_on_the_way_is_500_without_its_text(live: LiveWorkflow, product: Caller) -> None:
    """The model gets features that are none: its handler fails, and its ERROR goes through the exit to the caller."""
    calling = asyncio.create_task(broken_call(live, product))
    answer = await calling
    assert answer.status_code == 500
    assert "ended with an error" in answer.json()["message"]
    assert "strict" not in answer.text
    await product.program.said("answer replies with an error: ValueError")


async def broken_call(live: LiveWorkflow, product: Caller) -> httpx.Response:
    features = next(program for program in live.programs if "features" in program.lines[0])
    features.signal(signal.SIGTERM)
    assert await features.ended() == 0
    requests = await live.listen("rest-trigger")
    calling = asyncio.create_task(product.post(HOUSE))
    await live.send("features", [1.0], (await heard(requests)).request_id)
    return await calling


async def test_the_request_is_what_kai_sends(live: LiveWorkflow, caller: Caller) -> None:
    requests = await live.listen("rest-trigger")
    for method, body in (("POST", b"\xffany bytes"), ("PUT", b""), ("GET", b"left out"), ("DELETE", b"")):
        calling = asyncio.create_task(caller.client.request(method, "/price", content=body))
        request = await heard(requests)
        text = {"body": base64.b64encode(body).decode()} if method in ("POST", "PUT") else {}
        assert unpack(request.payload) == {"method": method, **text}
        await live.send("answer", {"status_code": "201", "message": method}, request.request_id)
        answer = await calling
        assert (answer.status_code, answer.json()) == (201, {"message": method})


@pytest.mark.parametrize(
    "reply",
    [
        None,
        "text",
        {},
        {"message": "x"},
        {"status_code": 200, "message": "x"},
        {"status_code": "200"},
        {"status_code": "200", "message": {}},
        {"status_code": "99", "message": "x"},
        {"status_code": "101", "message": "x"},
        {"status_code": "600", "message": "x"},
        {"status_code": "200\n", "message": "x"},
    ],
)
def test_a_reply_that_is_none_is_502(reply: Any) -> None:
    assert rest.answered(Reply("r", "answer", pack(reply), "")).status == 502


def test_a_reply_that_lies_about_its_type_is_502() -> None:
    lie = Payload("type.googleapis.com/google.protobuf.Value", b"\xff")
    assert rest.answered(Reply("r", "answer", lie, "")).status == 502


async def test_an_error_message_is_500(live: LiveWorkflow, caller: Caller) -> None:
    requests = await live.listen("rest-trigger")
    calling = asyncio.create_task(caller.post(HOUSE))
    request_id = (await heard(requests)).request_id
    await live.send("answer", None, request_id, error="no such model", type=MessageType.ERROR)
    answer = await calling
    assert (answer.status_code, answer.json()) == (500, {"message": f"request {request_id} ended with an error"})
    line = json.loads(await caller.program.said("no such model"))
    assert line["request_id"] == request_id


async def test_without_an_answer_in_time_it_is_504(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    _, url = await serve(live, monkeypatch, timeout="0.3")
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/price", json=HOUSE)
    assert answer.status_code == 504
    assert "within 0.3 s" in answer.json()["message"]


async def test_what_nats_does_not_take_is_told_so(live: LiveWorkflow, caller: Caller) -> None:
    assert (await caller.client.post("/price", content=noise(2 << 20))).status_code == 413
    assert (await caller.client.post("/price", content=b"x" * ((16 << 20) + 1))).status_code == 413
    config = (await live.connection.js.stream_info(live.stream)).config
    await live.connection.js.update_stream(config, max_msgs=1)
    await live.send("answer", None, "somebody's")
    assert (await caller.post(HOUSE)).status_code == 503


def noise(size: int) -> bytes:
    import random

    return random.Random(1).randbytes(size)


async def test_other_paths_and_methods_are_not_there(caller: Caller) -> None:
    assert (await caller.client.post("/")).status_code == 404
    assert (await caller.client.patch("/price")).status_code == 405


async def test_all_of_them_end_with_0_when_told_to(live: LiveWorkflow, product: Caller) -> None:
    for program in live.programs:
        program.signal(signal.SIGTERM)
    assert await asyncio.gather(*(program.ended() for program in live.programs)) == [0] * len(PROCESSES)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"path": "/{any}"}, "config path"),
        ({"path": "/a b"}, "config path"),
        ({"timeout": "soon"}, "config timeout"),
        ({"timeout": "0"}, "config timeout"),
        ({"timeout": "nan"}, "config timeout"),
        ({"timeout": "inf"}, "config timeout"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_named(config: dict[str, str], said: str) -> None:
    with pytest.raises(ProcessError, match=said):
        rest.path_of(config), rest.timeout_of(config)


def test_the_configuration_has_kais_defaults() -> None:
    assert (rest.path_of({}), rest.timeout_of({})) == ("/trigger", 30)
    paths = ("price", "/price", "/a/b-1", "/", "")
    assert [rest.path_of({"path": path}) for path in paths] == ["/price", "/price", "/a/b-1", "/", "/"]


def test_the_model_has_learned_what_the_sales_hold() -> None:
    """Within one in a hundred of what the prices were made of; noise is all that is left."""
    weights = valuing.learned()
    assert weights == valuing.learned()
    for weight, (least, most, worth) in zip(weights[1:], valuing.FIELDS.values(), strict=True):
        assert weight == pytest.approx(worth * (most - least), rel=0.02)


def test_a_house_is_never_worth_less_than_nothing() -> None:
    far = {"area": 15, "rooms": 1, "built": 1700, "distance": 100}
    assert valuing.price(valuing.learned(), valuing.features(far)) == 0
