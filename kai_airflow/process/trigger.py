"""A trigger: it lives as long as its workflow, and its requests start what the workflow does."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from kai_airflow.messaging.connection import API_ANSWER
from kai_airflow.messaging.errors import NatsUnavailableError
from kai_airflow.process.errors import NoReplyError, ProcessError
from kai_airflow.process.output import output
from kai_airflow.process.program import Program
from kai_airflow.process.replies import Waiting, listening
from kai_airflow.process.request import packed

if TYPE_CHECKING:
    from kai_airflow.messaging.codec import Json, Payload
    from kai_airflow.messaging.connection import Connection
    from kai_airflow.process.output import Output
    from kai_airflow.process.request import Reply
    from kai_airflow.process.settings import Settings

Runner = Callable[[asyncio.Event], Awaitable[None]]
RunnerT = TypeVar("RunnerT", bound=Runner)

END_TIME = 20.0  # seconds to answer what is in hand: Kubernetes gives a pod 30 before it kills


class Trigger(Program):
    """A trigger of a workflow::

        trigger = Trigger()

        @trigger.runner
        async def serve(stop: asyncio.Event) -> None:
            while not stop.is_set():
                ...
                await trigger.send({"some": "request"})

        trigger.run()

    ``send`` and ``ask`` may be called from any number of tasks of the event loop at the same time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runner: Runner | None = None
        self._output: Output | None = None
        self._replied_to = False
        self._waiting = Waiting()

    def runner(self, runner: RunnerT) -> RunnerT:
        """Make an ``async`` function what the trigger does; ``stop`` is set on SIGTERM and SIGINT.

        It then takes in nothing new, finishes what is in hand, for which it has 20 seconds, and returns. The process
        ends when it returns.
        """
        is_async = inspect.iscoroutinefunction(runner)
        if not is_async:
            raise ProcessError("the runner of a trigger is no async function. Remedy: make it one.")
        if self._runner:
            raise ProcessError("two runners of one trigger. Remedy: remove one.")
        self._runner = runner
        return runner

    async def send(self, payload: Json | Payload, *, request_id: str | None = None, channel: str = "") -> str:
        """Publish a request on the trigger's own subject, or on one of its channels; done once NATS has stored it.

        :param request_id: a new UUID by default
        :returns: the request's id
        :raises PayloadError: not JSON, or a number that would not travel unchanged
        :raises MessageTooLargeError: too large for NATS even when gzipped
        :raises ProcessError: no channel can have this name
        :raises MessagingError: NATS is out of reach, or refuses. Where it didn't answer in time, the request may be
            stored all the same
        """
        request_id = request_id or str(uuid.uuid4())
        await self._publish(payload, request_id, channel, API_ANSWER)
        return request_id

    async def ask(
        self, payload: Json | Payload, *, timeout: float, request_id: str | None = None, channel: str = ""
    ) -> Reply:
        """Send a request, and wait for the reply with its id; of several the first one counts.

        ``reply.error`` is the text of a reply of type ERROR, empty otherwise. A reply that comes late is dropped.

        :param timeout: seconds for all of it
        :raises NoReplyError: no reply in time
        :raises ProcessError: this trigger has no subscriptions, or asks with this id already

        Otherwise it raises as :meth:`send`.
        """
        if not self._replied_to:
            raise ProcessError("nobody replies to this trigger. Remedy: let it subscribe to an exit in the KRT.")
        request_id = request_id or str(uuid.uuid4())
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        with self._waiting.reply_to(request_id) as reply:
            try:
                await self._publish(payload, request_id, channel, min(timeout, API_ANSWER))
            except NatsUnavailableError:
                if not reply.done():  # otherwise only the word that it is stored was lost
                    raise
            try:
                async with asyncio.timeout_at(until):
                    return await reply
            except TimeoutError:
                raise NoReplyError(request_id, timeout) from None

    async def _publish(self, payload: Json | Payload, request_id: str, channel: str, timeout: float) -> None:
        if self._output is None:
            raise ProcessError("a trigger can't send before its runner runs. Remedy: send from there.")
        data = self._output.encoded(request_id, packed(payload))
        await self._output.publish(self._output.on(channel), data, timeout)

    def _check(self, told: Settings) -> None:
        if told.type != "trigger":
            raise ProcessError(
                f"metadata.process_type in app.yaml is {told.type}; Trigger runs triggers only. "
                "Remedy: write it with kai_airflow.process.Process."
            )
        if self._runner is None:
            raise ProcessError("the trigger does nothing. Remedy: give it a function with @trigger.runner.")

    async def _work(self, told: Settings, connection: Connection, stop: asyncio.Event) -> None:
        assert self._runner is not None  # noqa: S101  # _check has seen it
        self._replied_to = bool(told.inputs)
        async with listening(told, connection, self._waiting):
            self._output = await output(told, connection)
            await self._until_over(asyncio.ensure_future(self._runner(stop)), connection.closed, stop)

    async def _until_over(self, running: asyncio.Future[None], closed: asyncio.Event, stop: asyncio.Event) -> None:
        """Wait for the runner: as long as it likes until told to stop, then for a while."""
        closing, stopping = asyncio.create_task(closed.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((running, closing, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await asyncio.wait((running, closing), timeout=END_TIME, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            elif closing.done():
                raise NatsUnavailableError("NATS: the connection is closed for good. Remedy: see nats-server's log.")
            else:
                self.log.warning("still busy %g s after it was told to stop: it ends now", END_TIME)
        finally:
            for future in (running, closing, stopping):
                future.cancel()
            await asyncio.gather(running, closing, stopping, return_exceptions=True)
