"""Publishes one report, once the forecasts of all sites have come."""

from collections import defaultdict
from typing import Any

from kai_airflow.demo.load.curve import SITES, report
from kai_airflow.process import Process, Request

process = Process()
waiting: dict[str, list[Any]] = defaultdict(list)  # forecasts by request id


@process.on("forecast")
async def collect(request: Request) -> None:
    """Publish the report when the last site's forecast is there."""
    forecasts = waiting[request.id]
    forecasts.append(request.payload)
    if len(forecasts) == len(SITES):
        published = report(waiting.pop(request.id))
        process.log.info("%s: peak of %s kW", published["forecast_for"], published["peak"]["kilowatts"])
        await request.send(published)


if __name__ == "__main__":
    process.run()
