"""A task or exit: its handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from kai_airflow.process.errors import ProcessError
from kai_airflow.process.loop import Loop
from kai_airflow.process.output import output
from kai_airflow.process.program import Program, called
from kai_airflow.process.request import Request

if TYPE_CHECKING:
    import asyncio

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.settings import Settings

Handler = Callable[[Request], Awaitable[None] | None]
HandlerT = TypeVar("HandlerT", bound=Handler)

THE_REST = ""  # the sender that stands for all who have no handler of their own


class Process(Program):
    """A task or exit of a workflow. It handles one request at a time, in the order in which they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[str, Handler] = {}

    def on(self, *senders: str) -> Callable[[HandlerT], HandlerT]:
        """Make a function the handler of what these processes send; without any, of all the rest.

        It may be ``async``; a plain one runs in a thread, so that it may take its time. An ERROR message answers a
        request whose handler raises.
        """

        def register(handler: HandlerT) -> HandlerT:
            for sender in senders or (THE_REST,):
                if sender in self._handlers:
                    raise ProcessError(f"two handlers for {sender or 'all the rest'}. Remedy: remove one.")
                self._handlers[sender] = handler
            return handler

        return register

    def _check(self, told: Settings) -> None:
        if told.type == "trigger":
            raise ProcessError(
                "metadata.process_type in app.yaml is trigger; Process runs tasks and exits only. "
                "Remedy: write it with kai_airflow.process.Trigger."
            )

    async def _work(self, told: Settings, connection: Connection, stop: asyncio.Event) -> None:
        await Loop(told, connection, await output(told, connection), self._handle, stop).run()

    async def _handle(self, request: Request) -> None:
        handler = self._handlers.get(request.sender) or self._handlers.get(THE_REST)
        if handler is None:
            raise ProcessError(f"no handler for what {request.sender!r} sends. Remedy: add one, or one for all.")
        await called(handler, request)
