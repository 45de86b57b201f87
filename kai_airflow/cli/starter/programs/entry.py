"""Takes requests over HTTP: publishes what is posted, and answers with the result."""

import asyncio
import json

from aiohttp import web

from kai_airflow.process import NoReplyError, Trigger, address

trigger = Trigger()


async def take(call: web.Request) -> web.Response:
    """Publish a request, which starts a run, and wait for what report sends of it."""
    try:
        reply = await trigger.ask(json.loads(await call.text() or "null"), timeout=120)
    except json.JSONDecodeError as error:
        return web.json_response({"error": f"no JSON: {error}"}, status=400)
    except NoReplyError as error:
        return web.json_response({"error": str(error)}, status=504)
    if reply.error:
        return web.json_response({"error": reply.error}, status=500)
    return web.json_response(reply.payload)


@trigger.runner
async def serve(stop: asyncio.Event) -> None:
    """Listen until it is to stop. 8080 is the KRT's targetPort."""
    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, shutdown_timeout=15)
    await runner.setup()
    await web.TCPSite(runner, *address(8080)).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    trigger.run()
