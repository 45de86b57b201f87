"""A trigger for GitHub's webhooks, as KAI's github-webhook-trigger: POST /webhook-github on port 3000.

Its configuration: ``webhook_events``, of which events it makes requests, with commas between them; ``github_secret``,
by which GitHub signs. What it publishes: :func:`kai_airflow.demo.webhook.request_of`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from kai_airflow.demo.http import answer, serve
from kai_airflow.demo.webhook import DELIVERY, EVENT, PATH, SIGNATURE, URL_OF, request_of, signature
from kai_airflow.messaging.errors import MessageTooLargeError, MessagingError, PayloadError
from kai_airflow.process import ProcessError, Trigger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

PORT = 3000
LARGEST = 25 << 20  # bytes; GitHub sends no more
LONGEST = 100  # characters that a log quotes of what anybody may send

trigger = Trigger()


@dataclass(frozen=True)
class Hook:
    """Which events are wanted, and how they are signed; without a secret anybody may post."""

    events: frozenset[str]
    secret: bytes = field(repr=False)

    @classmethod
    def configured(cls, config: Mapping[str, str]) -> Hook:
        """Raises ProcessError where ``webhook_events`` is missing, or names what isn't known."""
        events = config.get("webhook_events", "").replace(" ", "").split(",")
        if unknown := [event for event in events if event not in URL_OF]:
            raise ProcessError(
                f"config webhook_events: no event {unknown[0]!r}. Remedy: name some of {', '.join(URL_OF)}."
            )
        return cls(frozenset(events), config.get("github_secret", "").encode())

    def is_signed(self, body: bytes, said: str) -> bool:
        """Whether what is said to be the signature is GitHub's; compared in constant time."""
        if not self.secret:
            return True
        return hmac.compare_digest(signature(body, self.secret).encode(), said.encode(errors="replace"))


def application(hook: Hook) -> web.Application:
    """The HTTP server."""

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if not hook.is_signed(body, request.headers.get(SIGNATURE, "")):
            trigger.log.warning(
                "delivery %r refused: its signature is wrong", request.headers.get(DELIVERY, "")[:LONGEST]
            )
            return answer(401, message=f"{SIGNATURE} is missing or wrong")
        event = request.headers.get(EVENT, "")
        if event not in hook.events:
            return answer(200, message=f"ignored: {event or 'no'} event isn't among webhook_events")
        return await _sent(event, body)

    served = web.Application(client_max_size=LARGEST)
    served.router.add_post(PATH, take)
    return served


async def _sent(event: str, body: bytes) -> web.Response:
    try:
        request_id = await trigger.send(request_of(event, body))
    except (ValueError, PayloadError) as error:
        return answer(400, message=str(error))
    except MessageTooLargeError as error:
        trigger.log.error("%s", error)
        return answer(413, message="larger than NATS takes")
    except MessagingError as error:
        trigger.log.error("%s", error)
        return answer(503, message="NATS doesn't take it: deliver it again later")
    trigger.log.info("%s event sent", event, extra={"request_id": request_id})
    return answer(202, message="sent", requestID=request_id)


@trigger.runner
async def listen(stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    hook = Hook.configured(trigger.config)
    if not hook.secret:
        trigger.log.warning("no github_secret: whoever reaches this port can start runs")
    await serve(application(hook), PORT, stop)


if __name__ == "__main__":
    trigger.run()
