"""The stack's nats-server: JetStream with files, one user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kai_airflow.local import programs
from kai_airflow.local.home import write_private
from kai_airflow.local.ports import HOST
from kai_airflow.local.supervisor import Part
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.errors import NatsUnavailableError, translated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "nats-server"
USER = "kai-airflow"


def part(folder: Path, port: int, password: str, environment: Mapping[str, str], rank: int) -> Part:
    """nats-server in ``folder``, on ``port``; writes its configuration."""
    config = folder / "nats-server.conf"
    write_private(config, json.dumps(_config(folder, port, password), indent=2))
    return Part(NAME, (str(programs.nats_server()), "--config", str(config)), environment, rank)


def _config(folder: Path, port: int, password: str) -> dict[str, object]:
    return {
        "server_name": "kai-airflow",
        "host": HOST,
        "port": port,
        "logtime_utc": True,  # as the other parts' logs
        "jetstream": {"store_dir": str(folder)},
        "authorization": {"user": USER, "password": password},
        # A handler of KAI's Python SDK that computes for minutes doesn't answer pings. Cut off for that, it would lose
        # what it publishes next, and ack all the same.
        "ping_max": 1_000_000,
    }


def url(port: int, password: str) -> str:
    """Where clients connect, as the one user, password included."""
    return f"nats://{USER}:{password}@{HOST}:{port}"


async def answers(address: str) -> bool:
    """Whether the server takes us in. Raises MessagingError where it does, but has no JetStream."""
    try:
        async with connect(address, name="kai-airflow up", timeout=1.0) as connection:
            with translated("use JetStream"):
                await connection.js.account_info()
    except NatsUnavailableError:
        return False
    return True
