"""A trigger that does what is POSTed to it: the answer is JSON, ``{"error": ...}`` where it can't."""

from __future__ import annotations

import asyncio

from aiohttp import web

from kai_airflow.errors import KaiAirflowError
from kai_airflow.process import Trigger, address

PORT = 1234

trigger = Trigger()
finish = asyncio.Event()


async def do(order: dict[str, object]) -> object:
    given = {"request_id": order.get("request_id"), "channel": order.get("channel", "")}
    match order:
        case {"do": "send", "payload": payload}:
            return {"request_id": await trigger.send(payload, **given)}  # type: ignore[arg-type]
        case {"do": "ask", "payload": payload, "timeout": timeout}:
            reply = await trigger.ask(payload, timeout=timeout, **given)  # type: ignore[arg-type]
            return {"id": reply.id, "sender": reply.sender, "payload": reply.payload, "error": reply.error}
        case {"do": "finish"}:
            finish.set()
            return {}
    raise ValueError(order)


async def obey(call: web.Request) -> web.Response:
    try:
        return web.json_response(await do(await call.json()))
    except KaiAirflowError as error:
        return web.json_response({"error": str(error), "type": type(error).__name__}, status=500)


@trigger.runner
async def serve(stop: asyncio.Event) -> None:
    application = web.Application()
    application.router.add_post("/", obey)
    runner = web.AppRunner(application, shutdown_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, *address(PORT)).start()
    trigger.log.info("serving")
    await (finish if trigger.config.get("ends") == "by itself" else stop).wait()
    trigger.log.info("stopping")
    await runner.cleanup()
    if trigger.config.get("ends") == "badly":
        raise ValueError("as told")


if __name__ == "__main__":
    trigger.run()
