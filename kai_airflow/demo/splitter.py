"""Splits the files of a push by their language, one channel for each. A language without files gets no message."""

from kai_airflow.demo.learning import split
from kai_airflow.process import Process, Request

process = Process()


@process.on("github-trigger")
async def divide(request: Request) -> None:
    """Publish one training job on each language's channel."""
    for job in split(request.payload):
        process.log.info("%d %s files", len(job["files"]), job["language"])
        await request.send(job, channel=job["language"])


if __name__ == "__main__":
    process.run()
