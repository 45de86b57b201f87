"""Compares the trainings of a request, once all have come.

What has come is kept in memory: a request's results have to reach the same process, as they do with one replica.
"""

from collections import defaultdict
from typing import Any

from kai_airflow.demo.learning import compare
from kai_airflow.process import Process, Request

process = Process()
waiting: dict[str, dict[str, Any]] = defaultdict(dict)  # request id, language: result


@process.on("training-go", "training-py")
async def collect(request: Request) -> None:
    """Publish the comparison when the last language that the splitter told of is there."""
    result = request.payload
    waiting[request.id][result["language"]] = result
    if waiting[request.id].keys() >= set(result["languages"]):
        await request.send(compare(list(waiting.pop(request.id).values())))


if __name__ == "__main__":
    process.run()
