"""An Airflow connection to a real nats-server, with a stream to use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import NatsServer

STREAM = "ORDERS"


@pytest.fixture
def airflow_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have Airflow know a connection of type nats with these fields."""

    def know(conn_id: str = "nats_default", **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "nats", **fields}))

    return know


@pytest.fixture
def known_server(nats_server: NatsServer, airflow_connection: Callable[..., None]) -> NatsServer:
    """A nats-server that is Airflow's ``nats_default``."""
    airflow_connection(host="127.0.0.1", port=nats_server.port)
    return nats_server
