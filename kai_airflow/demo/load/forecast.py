"""Lays a curve through a day of readings: the forecast for the next one."""

from kai_airflow.demo.load.curve import forecast
from kai_airflow.process import Process, Request

process = Process()


@process.on("cleaning")
def fit(request: Request) -> None:
    """Publish a site's forecast."""
    made = forecast(request.payload)
    process.log.info("%s: peak at %d h, off by %s kW", made["site"], made["peak_hour"], made["error"])
    request.send(made)


if __name__ == "__main__":
    process.run()
