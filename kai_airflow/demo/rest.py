"""A trigger for HTTP calls that wait for the workflow's answer, as KAI's rest-trigger: port 8080, path /trigger.

A request is ``{"method", "body"}``, the body (of POST and PUT) in base64 as KAI's own trigger sends it. The reply is
``{"status_code", "message"}``, both text; the caller gets ``{"message"}`` with that status. Its configuration is
``path``, and ``timeout``: the seconds that a caller waits (30), which KAI's own trigger doesn't have.
"""

from __future__ import annotations

import base64
import re
import uuid
from typing import TYPE_CHECKING, Any

from aiohttp import web

from kai_airflow.demo.http import answer, serve
from kai_airflow.messaging.errors import BadMessageError, MessageTooLargeError, MessagingError
from kai_airflow.process import NoReplyError, ProcessError, Trigger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from kai_airflow.process import Reply

PORT = 8080
METHODS = ("GET", "POST", "PUT", "DELETE")
WITH_BODY = ("POST", "PUT")
LARGEST = 16 << 20  # bytes of a body; NATS takes less, unless it is text that can be gzipped
STATUS = re.compile(r"[2-5][0-9][0-9]")
PLAIN_PATH = re.compile(r"/?[\w.~-]*(/[\w.~-]+)*/?")

trigger = Trigger()


def path_of(config: Mapping[str, str]) -> str:
    """Where it listens. Raises ProcessError where that is no path."""
    path = config.get("path", "/trigger")
    if not PLAIN_PATH.fullmatch(path):
        raise ProcessError(f"config path: {path!r} is no path. Remedy: name one like /trigger.")
    return f"/{path.removeprefix('/')}"


def timeout_of(config: Mapping[str, str]) -> float:
    """Seconds that a caller waits. Raises ProcessError where that is no number of seconds."""
    text = config.get("timeout", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ProcessError(f"config timeout: {text!r} is no number of seconds. Remedy: give one like 30.")
    return seconds


def request_of(method: str, body: bytes) -> dict[str, str]:
    """What is published for a call."""
    text = {"body": base64.b64encode(body).decode()} if method in WITH_BODY else {}
    return {"method": method, **text}


def answered(reply: Reply) -> web.Response:
    """What the caller gets for a reply."""
    if reply.error:
        trigger.log.error("%s replies with an error: %s", reply.sender, reply.error, extra={"request_id": reply.id})
        return answer(500, message=f"request {reply.id} ended with an error")
    try:
        payload: Any = reply.payload
    except BadMessageError:
        payload = None
    match payload:
        case {"status_code": str(status), "message": str(message)} if STATUS.fullmatch(status):
            return answer(int(status), message=message)
    trigger.log.error("%s replies without status_code and message", reply.sender, extra={"request_id": reply.id})
    return answer(502, message=f"the answer to request {reply.id} can't be read")


def application(path: str, timeout: float) -> web.Application:
    """The HTTP server."""

    async def take(call: web.Request) -> web.Response:
        request_id = str(uuid.uuid4())
        try:
            return answered(
                await trigger.ask(request_of(call.method, await call.read()), timeout=timeout, request_id=request_id)
            )
        except NoReplyError as error:
            trigger.log.warning("%s", error, extra={"request_id": request_id})
            return answer(504, message=f"no answer to request {request_id} within {timeout:g} s")
        except MessageTooLargeError:
            return answer(413, message="larger than NATS takes")
        except MessagingError as error:
            trigger.log.error("%s", error, extra={"request_id": request_id})
            return answer(503, message="NATS doesn't take it: try again later")

    served = web.Application(client_max_size=LARGEST)
    for method in METHODS:
        served.router.add_route(method, path, take)
    return served


@trigger.runner
async def listen(stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    await serve(application(path_of(trigger.config), timeout_of(trigger.config)), PORT, stop)


if __name__ == "__main__":
    trigger.run()
