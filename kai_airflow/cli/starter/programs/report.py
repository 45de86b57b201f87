"""Publishes the result."""

from kai_airflow.process import Process, Request

process = Process()


@process.on("greeter")
async def report(request: Request) -> None:
    """Pass on what greeter sends; this is the place to keep it, or to tell somebody."""
    process.log.info("the result is %s", request.payload)
    await request.send(request.payload)


if __name__ == "__main__":
    process.run()
