"""The serving example wired by hand, with nats-py and aiohttp alone: ``serving.py ROLE NATS STREAM PORT``.

It computes what the example's processes do, and is as careful with messages as they are: acked when what follows from
them is stored. It doesn't log, it doesn't check what comes, and it has no way to end but being killed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import uuid
from typing import TYPE_CHECKING, Any

import nats
from aiohttp import web
from google.protobuf.struct_pb2 import Struct

from kai_airflow.demo.houses import valuing
from kai_airflow.messaging.kai_nats_msg_pb2 import KaiNatsMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

UPSTREAM = {"features": "rest-trigger", "model": "features", "answer": "model"}
HOST = "127.0.0.1"


def message_of(request_id: str, sender: str, **fields: Any) -> bytes:
    """The bytes of a message whose payload is an object."""
    payload = Struct()
    payload.update(fields)
    message = KaiNatsMessage(request_id=request_id, from_node=sender, message_type="OK")
    message.payload.Pack(payload)
    return message.SerializeToString()


def read(data: bytes) -> tuple[str, Any]:
    """The request's id, and the payload."""
    message, payload = KaiNatsMessage.FromString(data), Struct()
    message.payload.Unpack(payload)
    return message.request_id, payload


def step(role: str) -> Callable[[Any], dict[str, Any]]:
    """What a process makes of a payload."""
    if role == "features":
        return lambda payload: {"features": features(payload["body"])}
    if role == "model":
        weights = valuing.learned()
        return lambda payload: {"price": valuing.price(weights, list(payload["features"]))}
    return lambda payload: {"status_code": "200", "message": f"{int(payload['price'])} EUR"}


def features(body: str) -> list[float]:
    """Those of a house."""
    return valuing.features(json.loads(base64.b64decode(body)))


async def work(js: JetStreamContext, stream: str, role: str) -> None:
    """A task or exit."""
    compute = step(role)

    async def handle(delivery: Msg) -> None:
        request_id, payload = read(delivery.data)
        await js.publish(f"{stream}.{role}", message_of(request_id, role, **compute(payload)))
        await delivery.ack()

    await subscribe(js, stream, UPSTREAM[role], f"{stream}-{UPSTREAM[role]}-{role}", handle)


async def serve(js: JetStreamContext, stream: str, port: int) -> None:
    """The trigger."""
    waiting: dict[str, asyncio.Future[Any]] = {}

    async def hear(delivery: Msg) -> None:
        request_id, payload = read(delivery.data)
        await delivery.ack()
        if reply := waiting.pop(request_id, None):
            reply.set_result(payload)

    async def call(request: web.Request) -> web.Response:
        request_id = str(uuid.uuid4())
        body = base64.b64encode(await request.read()).decode()
        reply = waiting[request_id] = asyncio.get_running_loop().create_future()
        data = message_of(request_id, "rest-trigger", method=request.method, body=body)
        await js.publish(f"{stream}.rest-trigger", data)
        said = await asyncio.wait_for(reply, 10)
        return web.json_response({"message": said["message"]}, status=int(said["status_code"]))

    config = nats.js.api.ConsumerConfig(deliver_policy=nats.js.api.DeliverPolicy.NEW)
    await js.subscribe(f"{stream}.answer", stream=stream, cb=hear, manual_ack=True, config=config)
    application = web.Application()
    application.router.add_post("/price", call)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()


async def subscribe(
    js: JetStreamContext, stream: str, upstream: str, consumer: str, handle: Callable[[Msg], Awaitable[None]]
) -> None:
    """To the consumer that is there."""
    await js.subscribe(f"{stream}.{upstream}", consumer, handle, stream=stream, manual_ack=True)


async def main(role: str, url: str, stream: str, port: str) -> None:
    """Until it is killed."""
    js = (await nats.connect(url)).jetstream()
    await (serve(js, stream, int(port)) if role == "rest-trigger" else work(js, stream, role))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
