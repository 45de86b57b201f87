"""GitHub's webhooks: how they are signed, and the requests that become of them. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

PATH = "/webhook-github"
SIGNATURE, EVENT, DELIVERY = "X-Hub-Signature-256", "X-GitHub-Event", "X-GitHub-Delivery"

# The events that KAI's github-webhook-trigger knows, and the part of each that holds the URL which it passes on.
URL_OF = {
    "pull_request": "pull_request",
    "push": "repository",
    "release": "repository",
    "workflow_dispatch": "repository",
    "workflow_run": "repository",
}


def signature(body: bytes, secret: bytes) -> str:
    """What GitHub sends as X-Hub-Signature-256."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


def request_of(event: str, body: bytes) -> dict[str, Any]:
    """What is published for an event: ``{"eventUrl", "event"}`` as KAI's own trigger sends it, and ``body`` besides.

    KAI's trigger sends no more than the URL, so who wants to know what was pushed has to ask GitHub; ``body`` is what
    GitHub posted.

    :raises ValueError: not JSON, or not what GitHub posts for this event
    """
    try:
        posted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON. Remedy: the webhook's content type has to be application/json") from error
    match posted:
        case {**parts} if isinstance(part := parts.get(URL_OF[event]), dict) and isinstance(part.get("url"), str):
            return {"eventUrl": part["url"], "event": event, "body": posted}
    raise ValueError(f"not a {event} event: it has no {URL_OF[event]}.url")
