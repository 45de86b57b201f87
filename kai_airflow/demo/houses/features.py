"""Makes of a call what the model takes; what is no house goes to the exit at once, on channel ``invalid``."""

from kai_airflow.demo.houses import valuing
from kai_airflow.process import Process, Request

process = Process()


@process.on("rest-trigger")
async def read(request: Request) -> None:
    """Publish the house's features, or on channel ``invalid`` what is wrong with the call."""
    try:
        house = valuing.house_of(request.payload)
    except ValueError as error:
        await request.send({"status_code": "400", "message": str(error)}, channel="invalid")
    else:
        await request.send(valuing.features(house))


if __name__ == "__main__":
    process.run()
