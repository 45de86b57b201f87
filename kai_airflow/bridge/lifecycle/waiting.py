"""How many messages of a workflow wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.messaging.consumers import is_input, listed, pending
from kai_airflow.messaging.errors import NoStreamError
from kai_airflow.plan import names

if TYPE_CHECKING:
    from nats.js.api import ConsumerInfo

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Workflow


async def waiting(connection: Connection, workflow: Workflow) -> int:
    """Messages that wait to become runs; of a streaming workflow, those that wait for a process or are in hand.

    Of messages that share a run, those that are written down as a group count as one. 0 where there is no stream yet.

    :raises MessagingError: NATS doesn't answer, or refuses
    """
    try:
        found = await listed(connection, workflow.live_stream)
    except NoStreamError:
        return 0
    counts = is_input if workflow.mode == "stream" else _is_intake
    return sum(pending(info) for info in found if counts(info))


def _is_intake(info: ConsumerInfo) -> bool:
    return info.name.startswith(f"{names.BRIDGE}-")
