"""Greets whoever a request names."""

from kai_airflow.process import Process, Request

process = Process()


@process.on("entry")
async def greet(request: Request) -> None:
    """Handle what entry sends, one request at a time. What is raised here is told downstream, and fails the task."""
    name = request.payload or "world"
    process.log.info("greeting %s", name)
    await request.send({"greeting": f"{process.config['greeting']}, {name}!"})


if __name__ == "__main__":
    process.run()
