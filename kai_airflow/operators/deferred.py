"""The half of a process's task that waits in the triggerer, where it takes no worker's place."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import PodName
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.feed import fed
from kai_airflow.messaging.tries import Try
from kai_airflow.operators.connections import kubernetes_hook, kubernetes_pods, nats_address
from kai_airflow.operators.part import followed
from kai_airflow.plan.names import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.operators.pods import Pods
    from kai_airflow.operators.supervisor import Supervisor


# Seconds before which it never fires. The worker that deferred may be noticed as ended only at its next heartbeat; a
# scheduler that hears of that end when the task has been resumed already takes it for a lost one, and fails the try
# (apache/airflow#72716).
SOONEST = 2 * conf.getint("workers", "min_heartbeat_interval")


@dataclass(frozen=True)
class Wait:
    """One pod to wait for: its try, the nats-server that it began with, its name. No secret: Airflow stores it."""

    stream: str
    id: str
    process: str
    server: str
    pod: str
    namespace: str
    start_timeout: float

    @property
    def of(self) -> Try:
        """The try."""
        return Try(Stream(self.stream), self.id, self.process)

    @property
    def pod_name(self) -> PodName:
        """The pod."""
        return PodName(self.pod, self.namespace)


class WaitForPods(BaseTrigger):
    """Follows the pods of a try and fires when their end can be judged: by the task, which does it once more.

    Killed by a person, it ends the pods; shut down, or moved to another triggerer, it doesn't.

    :param fed: a digest of what they were fed, which the task gets back
    """

    def __init__(self, waits: Sequence[Wait | dict[str, Any]], kubernetes_conn_id: str | None, fed: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = [wait if isinstance(wait, Wait) else Wait(**wait) for wait in waits]
        self.kubernetes_conn_id = kubernetes_conn_id
        self.fed = fed

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Airflow's form of a trigger."""
        waits = [asdict(wait) for wait in self.waits]
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {
            "waits": waits,
            "kubernetes_conn_id": self.kubernetes_conn_id,
            "fed": self.fed,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, with how many lines of each try's output are in the log, and the digest.

        What goes wrong here goes wrong in the task too, which can say so.
        """
        began, said = time.monotonic(), {}
        try:
            address = await sync_to_async(nats_address)()
            hook = await sync_to_async(kubernetes_hook)(self.kubernetes_conn_id)
            async with (
                connect(address, name="kai-airflow triggerer") as connection,
                kubernetes_pods(hook) as pods,
                AsyncExitStack() as stack,
            ):
                supervisors = [await self._followed(stack, connection, pods, wait) for wait in self.waits]
                await asyncio.gather(*map(_end, supervisors))
            said = {supervisor.drain.of.id: supervisor.lines for supervisor in supervisors}
        except KaiAirflowError as error:
            self.log.warning("%s", error)
        await asyncio.sleep(began + SOONEST - time.monotonic())
        yield TriggerEvent({"said": said, "fed": self.fed})  # type: ignore[no-untyped-call]

    async def _followed(self, stack: AsyncExitStack, connection: Connection, pods: Pods, wait: Wait) -> Supervisor:
        part = await stack.enter_async_context(
            followed(
                connection,
                pods,
                wait.pod_name,
                await fed(connection, wait.of),
                wait.server,
                start_timeout=wait.start_timeout,
                errors_travel=False,
                log=self.log,
                note=self.log.info,
            )
        )
        return part.supervisor

    async def on_kill(self) -> None:
        """A person marked the task, or cleared it: a next try asks the consumers how far it came."""
        hook = await sync_to_async(kubernetes_hook)(self.kubernetes_conn_id)
        async with kubernetes_pods(hook) as pods:
            for wait in self.waits:
                await pods.delete(wait.pod_name)


async def _end(supervisor: Supervisor) -> None:
    try:
        await supervisor.until_done()
    except KaiAirflowError as error:
        supervisor.note(f"{error}")
