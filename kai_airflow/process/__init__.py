"""Writing a process in Python: a small helper that behaves as KAI's SDK runners do (KAI reference, sections 3 to 5).

::

    from kai_airflow.process import Process, Request

    process = Process()

    @process.on("splitter")
    async def train(request: Request) -> None:
        await request.send({"loss": 0.1})

    if __name__ == "__main__":
        process.run()
"""

from kai_airflow.process.errors import ProcessError
from kai_airflow.process.request import Request
from kai_airflow.process.runner import Process

__all__ = ["Process", "ProcessError", "Request"]
