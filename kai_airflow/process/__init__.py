"""Writing a process in Python: a small helper that behaves as KAI's SDK runners do (KAI reference, sections 3 to 5).

A task or exit::

    from kai_airflow.process import Process, Request

    process = Process()

    @process.on("splitter")
    async def train(request: Request) -> None:
        await request.send({"loss": 0.1})

    if __name__ == "__main__":
        process.run()

A trigger: :class:`Trigger`.
"""

from kai_airflow.process.errors import NoReplyError, ProcessError
from kai_airflow.process.listening import address, port
from kai_airflow.process.request import Reply, Request
from kai_airflow.process.runner import Process
from kai_airflow.process.trigger import Trigger

__all__ = ["NoReplyError", "Process", "ProcessError", "Reply", "Request", "Trigger", "address", "port"]
