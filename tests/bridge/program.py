"""A bridge as a process of its own, for tests that kill it: ``python program.py SITE``; what takes long is short."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from kai_airflow.bridge import service, workflow
from kai_airflow.bridge.runs import ended, intake, replies
from kai_airflow.bridge.site import Site
from kai_airflow.messaging import pull

SETTINGS: dict[Any, dict[str, object]] = {
    workflow: {"ACK_WAIT": 1.0, "PAUSES": (0.05,)},
    intake: {"ACK_WAIT": 1.0, "LINGER": 0.05},
    ended: {"POLL": 0.05, "FAILED": 0.1},
    replies: {"TAKEOVER": timedelta(seconds=0.5)},
    pull: {"EXPIRES": 1.0, "HEARTBEAT": 0.2, "SILENCE": 0.6, "ANSWER": 0.5},
    service: {"LOOK": 0.2},
}
for module, settings in SETTINGS.items():
    vars(module).update(settings)

asyncio.run(service.run(Site.from_json(sys.argv[1])))
