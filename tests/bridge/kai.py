"""What KAI does on NATS, as its nats-manager and its SDKs define it (KAI reference, sections 2 and 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js import api

if TYPE_CHECKING:
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow, names

ACK_WAIT = 22 * 3600.0


@dataclass(frozen=True)
class Kai:
    """KAI with one version of a workflow."""

    connection: Connection
    workflow: Workflow

    @property
    def stream(self) -> names.Stream:
        """The workflow's, kept by interest."""
        return self.workflow.live_stream

    async def start(self) -> None:
        """``kli version start``. Raises BadRequestError where there is a stream of that name that isn't KAI's."""
        subjects = [f"{self.stream}.{process.name}{rest}" for process in self.workflow.processes for rest in ("", ".*")]
        await self.connection.js.add_stream(
            name=self.stream, subjects=subjects, retention=api.RetentionPolicy.INTEREST, storage=api.StorageType.FILE
        )

    async def stop(self) -> None:
        """``kli version stop``: deletes what begins like the version's streams, with all that waits in it."""
        versions = re.compile(f"{self.workflow.product}_{self.workflow.version}_.*")
        for info in await self.connection.js.streams_info():
            if versions.match(str(info.config.name)):
                await self.connection.js.delete_stream(str(info.config.name))

    async def process(self, subscription: str, name: str) -> Process:
        """A process that begins to listen. It makes its consumer itself; what was published before isn't for it."""
        subject = f"{self.stream}.{subscription}"
        consumer = f"{subject.replace('.', '-')}-{name}"
        config = api.ConsumerConfig(
            durable_name=consumer,
            deliver_group=consumer,
            deliver_subject=f"_INBOX.{consumer}",
            deliver_policy=api.DeliverPolicy.NEW,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            filter_subject=subject,
        )
        await self.connection.js.add_consumer(self.stream, config)
        return Process(self, name, consumer)

    async def waiting_for_replies(self, exit_: str, trigger: str) -> None:
        """What a trigger that is gone has left: a consumer of replies that belongs to nobody."""
        subject = f"{self.stream}.{exit_}"
        consumer = f"{subject.replace('.', '-')}-{trigger}-00000000-0000-4000-8000-000000000000"
        config = api.ConsumerConfig(
            durable_name=consumer,
            deliver_subject=f"_INBOX.{consumer}",
            deliver_policy=api.DeliverPolicy.NEW,
            ack_policy=api.AckPolicy.EXPLICIT,
            filter_subject=subject,
        )
        await self.connection.js.add_consumer(self.stream, config)

    async def consumers(self) -> list[ConsumerInfo]:
        """Those of its stream."""
        return list(await self.connection.js.consumers_info(self.stream))


@dataclass(frozen=True)
class Process:
    """A process of KAI's that takes messages one by one."""

    kai: Kai
    name: str
    consumer: str

    async def handle(self, count: int) -> list[bytes]:
        """Work on so many messages: publish each on its own subject, then ack it. Gives what they were."""
        connection = self.kai.connection
        taken: list[bytes] = []
        listening = await connection.nc.subscribe(f"_INBOX.{self.consumer}", queue=self.consumer)
        while len(taken) < count:
            message = await listening.next_msg(timeout=20)
            await connection.js.publish(f"{self.kai.stream}.{self.name}", message.data)
            await message.ack_sync()
            taken.append(message.data)
        await listening.unsubscribe()
        return taken
