"""Fetches a day of readings, one message for each site."""

from kai_airflow.demo.load.curve import day_of, readings
from kai_airflow.process import Process, Request

process = Process()


@process.on()
async def fetch(request: Request) -> None:
    """Publish the readings of the day that the run is about."""
    day = day_of(request.payload)
    for message in readings(day):
        process.log.info("%s: %d readings of %s", message["site"], len(message["values"]), day)
        await request.send(message)


if __name__ == "__main__":
    process.run()
