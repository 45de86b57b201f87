"""Says what a house is worth."""

from kai_airflow.demo.houses import valuing
from kai_airflow.process import Process, Request

process = Process()
weights: list[float] = []


@process.init
def learn() -> None:
    """Learn from the sales, once."""
    weights.extend(valuing.learned())


@process.on("features")
async def value(request: Request) -> None:
    """Publish the price; an error that came is passed on."""
    if request.error:
        await request.send_error(request.error)
    else:
        await request.send({"price": valuing.price(weights, request.payload)})


if __name__ == "__main__":
    process.run()
