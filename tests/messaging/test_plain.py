"""KAI_REQUESTS."""

from __future__ import annotations

import json

from kai_airflow.messaging import codec
from kai_airflow.messaging.plain import LONGEST, PlainRequests


def test_requests_are_a_list_of_json_with_their_payloads() -> None:
    requests = PlainRequests()
    requests.add(codec.Message("a", codec.pack({"n": 1, "text": "é\u2028"}), from_node="splitter"))
    requests.add(codec.Message("b", from_node="splitter"))
    assert requests.text is not None
    assert requests.text.isascii()
    assert json.loads(requests.text) == [
        {"request_id": "a", "from_node": "splitter", "payload": {"n": 1, "text": "é\u2028"}},
        {"request_id": "b", "from_node": "splitter", "payload": None},
    ]


def test_none_is_an_empty_list() -> None:
    assert PlainRequests().text == "[]"


def test_what_is_too_long_for_an_environment_isnt_given_at_all() -> None:
    requests = PlainRequests()
    while requests.text is not None:
        longest = len(requests.text)
        requests.add(codec.Message("x", codec.pack("y" * 1000)))
    assert LONGEST - 2000 < longest <= LONGEST
    requests.add(codec.Message("short"))
    assert requests.text is None


def test_a_payload_that_isnt_what_it_says_is_given_as_its_bytes() -> None:
    requests = PlainRequests()
    lying = codec.Payload("type.googleapis.com/google.protobuf.Value", b"\xff")
    requests.add(codec.Message("a", lying))
    (found,) = json.loads(requests.text or "")
    assert found["payload"] == {"@type": lying.type_url, "value": "/w=="}
