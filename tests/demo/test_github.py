"""The trigger for GitHub's webhooks: a real process, called over HTTP, on a real nats-server."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kai_airflow.demo.event import posted, push_event
from kai_airflow.demo.github import Hook
from kai_airflow.demo.webhook import EVENT, PATH, SIGNATURE, request_of, signature
from kai_airflow.messaging.codec import decode, unpack
from kai_airflow.process import ProcessError
from tests.conftest import LiveWorkflow, heard
from tests.demo import callers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import NatsServer, Program

TRIGGER = callers.processes("github-trainer")["github-trigger"]
SECRET = TRIGGER["config"]["github_secret"]
URL = "https://github.com/konstellation/github-trainer"


class GitHub:
    """Posts to a trigger that runs."""

    def __init__(self, program: Program, client: httpx.AsyncClient) -> None:
        self.program, self._client = program, client

    async def post(
        self, body: bytes, event: str = "push", secret: str = SECRET, path: str = PATH, **headers: str
    ) -> httpx.Response:
        signed = {SIGNATURE: signature(body, secret.encode()), EVENT: event}
        given = {name: value for name, value in (signed | headers).items() if value}
        return await self._client.post(path, content=body, headers=given)


@pytest.fixture
async def github(live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GitHub]:
    await live.prepare(["github-trigger"])
    program, url = await callers.start_server(live, TRIGGER, monkeypatch, webhook_events="push, pull_request")
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        yield GitHub(program, client)


async def test_a_push_is_published_with_its_url_its_name_and_its_body(live: LiveWorkflow, github: GitHub) -> None:
    requests = await live.listen("github-trigger")
    answer = await github.post(posted(1))
    assert answer.status_code == 202
    request = await heard(requests)
    assert (request.request_id, request.from_node) == (answer.json()["requestID"], "github-trigger")
    assert unpack(request.payload) == {"eventUrl": URL, "event": "push", "body": json.loads(posted(1))}
    assert unpack(request.payload) == push_event(1)


async def test_the_request_is_in_the_stream_when_github_has_its_answer(live: LiveWorkflow, github: GitHub) -> None:
    answer = await github.post(posted(2))
    stored = await live.connection.js.get_last_msg(live.stream, f"{live.stream}.github-trigger")
    assert decode(stored.data or b"").request_id == answer.json()["requestID"]


async def test_a_pull_request_has_its_own_url(live: LiveWorkflow, github: GitHub) -> None:
    requests = await live.listen("github-trigger")
    event = {"pull_request": {"url": f"{URL}/pulls/1"}, "repository": {"url": URL}}
    assert (await github.post(json.dumps(event).encode(), "pull_request")).status_code == 202
    payload = unpack((await heard(requests)).payload)
    assert (payload["eventUrl"], payload["event"]) == (f"{URL}/pulls/1", "pull_request")


async def test_what_github_has_not_signed_is_refused(live: LiveWorkflow, github: GitHub) -> None:
    requests = await live.listen("github-trigger")
    for said in (
        {SIGNATURE: ""},
        {SIGNATURE: "sha256="},
        {SIGNATURE: signature(posted(1), b"another")},
        {SIGNATURE: signature(posted(2), SECRET.encode())},
        {SIGNATURE: signature(posted(1), SECRET.encode()).removeprefix("sha256=")},
        {SIGNATURE: signature(posted(1), SECRET.encode()).upper()},
        {SIGNATURE: "sha256=\xe9\xff"},
        {SIGNATURE: "", "X-Hub-Signature": signature(posted(1), SECRET.encode())},
    ):
        encoded = {name: value.encode("latin-1") for name, value in said.items()}
        assert (await github.post(posted(1), **encoded)).status_code == 401  # type: ignore[arg-type]
    assert (await github.post(posted(3))).status_code == 202
    assert unpack((await heard(requests)).payload) == push_event(3)
    assert requests.pending_msgs == 0


async def test_events_that_are_not_wanted_are_taken_and_ignored(live: LiveWorkflow, github: GitHub) -> None:
    requests = await live.listen("github-trigger")
    for event in ("ping", "release", "star", ""):
        answer = await github.post(b'{"zen": "Keep it logically awesome."}', event)
        assert answer.status_code == 200
        assert answer.json()["message"].startswith("ignored")
    await github.post(posted(3))
    assert unpack((await heard(requests)).payload) == push_event(3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "application/json"),
        (b"payload=%7B%7D", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"[]", "no repository.url"),
        (b"{}", "no repository.url"),
        (b'{"repository": {"url": 1}}', "no repository.url"),
        (b'{"repository": []}', "no repository.url"),
    ],
)
def test_what_is_no_event_is_an_error(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        request_of("push", body)


async def test_what_is_no_event_and_what_cannot_travel_is_told_so(live: LiveWorkflow, github: GitHub) -> None:
    requests = await live.listen("github-trigger")
    for body, said in (
        (b"no JSON", "application/json"),
        (b'{"repository": {"url": "u"}, "id": 123456789012345678901}', "$.body.id"),
        (b'{"repository": {"url": "u"}, "id": NaN}', "$.body.id"),
        (b'{"repository": {"url": "\\ud800"}}', "not Unicode"),
        (b'{"repository": {"url": "u"}, "deep": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
    ):
        answer = await github.post(body)
        assert answer.status_code == 400
        assert said in answer.json()["message"]
    await github.post(posted(3))
    assert unpack((await heard(requests)).payload) == push_event(3)


async def test_what_is_larger_than_nats_takes_is_told_so_and_what_can_be_gzipped_is_sent(
    live: LiveWorkflow, github: GitHub
) -> None:
    requests = await live.listen("github-trigger")
    text = random_hex(2 << 20)
    assert (await github.post(event_with(text))).status_code == 413
    assert (await github.post(event_with("x" * (4 << 20)))).status_code == 202
    assert len(unpack((await heard(requests)).payload)["body"]["text"]) == 4 << 20


def random_hex(size: int) -> str:
    import random

    return random.Random(1).randbytes(size).hex()


def event_with(text: str) -> bytes:
    return json.dumps({"repository": {"url": URL}, "text": text}).encode()


async def test_a_body_larger_than_github_posts_is_refused_before_it_is_read(github: GitHub) -> None:
    assert (await github.post(b"x" * ((25 << 20) + 1))).status_code == 413


async def test_other_paths_and_methods_are_not_there(github: GitHub) -> None:
    assert (await github.post(posted(1), path="/")).status_code == 404
    assert (await github._client.get(PATH)).status_code == 405


async def test_without_nats_github_is_told_to_deliver_again(
    live: LiveWorkflow, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is full: NATS refuses at once."""
    config = (await live.connection.js.stream_info(live.stream)).config
    await live.connection.js.update_stream(config, max_msgs=1)
    assert (await github.post(posted(1))).status_code == 202
    answer = await github.post(posted(2))
    assert answer.status_code == 503
    assert "deliver it again" in answer.json()["message"]
    await github.program.said("maximum messages exceeded")


async def test_it_never_tells_the_secret_nor_a_signature(github: GitHub) -> None:
    secret = "s3cret-of-ours"
    for said in (signature(posted(1), secret.encode()), signature(posted(1), SECRET.encode())):
        await github.post(posted(1), **{SIGNATURE: said})
    github.program.signal(signal.SIGTERM)
    assert await github.program.ended() == 0
    text = "".join(github.program.lines)
    assert "delivery '' refused" in text
    assert "sha256=" not in text
    assert f'"{SECRET}"' not in text
    assert repr(Hook(frozenset(), secret.encode())) == "Hook(events=frozenset())"


async def test_without_a_secret_it_takes_what_comes_and_warns(
    live: LiveWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.prepare(["github-trigger"])
    program, url = await callers.start_server(live, TRIGGER, monkeypatch, github_secret="")
    await program.said("no github_secret: whoever reaches this port can start runs")
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post(PATH, content=posted(1), headers={EVENT: "push"})).status_code == 202


@pytest.mark.parametrize("events", ["", "pull", "push,,release", "ping"])
async def test_events_that_it_does_not_know_end_it_with_1(live: LiveWorkflow, events: str) -> None:
    await live.prepare(["github-trigger"])
    program = await callers.start(live, TRIGGER, webhook_events=events)
    assert await program.ended() == 1
    assert "config webhook_events: no event" in program.logged()[-1]["msg"]
    assert "Traceback" not in "".join(program.lines)


async def test_a_port_that_is_taken_ends_it_with_1(
    live: LiveWorkflow, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.prepare(["github-trigger"])
    monkeypatch.setenv("KAI_AIRFLOW_PORT_3000", str(nats_server.port))
    program = await callers.start(live, TRIGGER)
    assert await program.ended() == 1
    assert f"cannot listen on port {nats_server.port}" in program.logged()[-1]["msg"]


def test_events_may_have_spaces_between_them() -> None:
    hook = Hook.configured({"webhook_events": " push , release,push"})
    assert hook == Hook(frozenset({"push", "release"}), b"")
    with pytest.raises(ProcessError, match="name some of pull_request, push, release, workflow_dispatch, workflow_run"):
        Hook.configured({})


@pytest.mark.parametrize("event", ["push", "release", "workflow_dispatch", "workflow_run"])
def test_each_event_of_a_repository_has_its_url(event: str) -> None:
    body: dict[str, Any] = {"repository": {"url": URL}}
    assert request_of(event, json.dumps(body).encode()) == {"eventUrl": URL, "event": event, "body": body}


def test_the_signature_is_the_one_that_github_documents() -> None:
    """docs.github.com, Validating webhook deliveries: the secret and the text that it gives to try."""
    documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature(b"Hello, World!", b"It's a Secret to Everybody") == documented
