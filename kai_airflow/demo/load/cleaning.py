"""Mends what meters get wrong: gaps and spikes."""

from kai_airflow.demo.load.curve import mend
from kai_airflow.process import Process, Request

process = Process()


@process.on("readings")
async def clean(request: Request) -> None:
    """Publish the mended readings of a site."""
    mended = mend(request.payload)
    process.log.warning("%s: %d gaps, %d spikes", mended["site"], mended["gaps"], mended["spikes"])
    await request.send(mended)


if __name__ == "__main__":
    process.run()
