"""Publishes the result of the workflow."""

from kai_airflow.process import Process, Request

process = Process()


@process.on("validation")
async def finish(request: Request) -> None:
    """Publish the comparison as it is."""
    process.log.info("the winner is %s", request.payload["winner"])
    await request.send(request.raw)


if __name__ == "__main__":
    process.run()
