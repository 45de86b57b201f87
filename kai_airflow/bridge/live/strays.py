"""What was on its way to long-lived processes when a connection to NATS broke."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube.objects import labels
from kai_airflow.messaging.cancelling import heed_cancel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from kai_airflow.bridge.live.handover import Wanted
    from kai_airflow.bridge.live.nats_protocol import LiveNats

log = logging.getLogger(__name__)


async def heed_losses(nats: LiveNats, wanted: Callable[[], Iterable[Wanted]], group: asyncio.TaskGroup) -> None:
    """Where our connection to NATS broke, those of the processes may have, with what was on its way to them.

    :param group: where each of them is seen to, until cancelled
    """
    while True:
        heed_cancel()
        await nats.lost()
        for one in wanted():
            group.create_task(_look_for_strays(nats, one))


async def _look_for_strays(nats: LiveNats, one: Wanted) -> None:
    try:
        await nats.strayed(labels(one.workflow, one.process), one.process.name)
    except KaiAirflowError as error:
        log.warning("%s of %s: %s", one.process.name, one.workflow.dag_id, error)
