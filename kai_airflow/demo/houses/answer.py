"""Answers the call: ``{"status_code", "message"}``, as the REST trigger expects it."""

from kai_airflow.process import Process, Request

process = Process()


@process.on("model")
async def answer(request: Request) -> None:
    """The price; an error that came is passed on."""
    if request.error:
        await request.send_error(request.error)
    else:
        await request.send({"status_code": "200", "message": f"{request.payload['price']} EUR"})


@process.on("features")
async def refuse(request: Request) -> None:
    """What is wrong with the call."""
    await request.send(request.raw)


if __name__ == "__main__":
    process.run()
