"""Trains the model of the job's language. It runs as training-go and as training-py."""

from kai_airflow.demo.learning import train
from kai_airflow.process import Process, Request

process = Process()


@process.on("splitter")
def learn(request: Request) -> None:
    """Train, and publish how well it went."""
    result = train(request.payload)
    process.log.info("%s: accuracy %s on %s files", result["model"], result["accuracy"], result["examples"])
    request.send(result)


if __name__ == "__main__":
    process.run()
