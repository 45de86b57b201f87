"""The hook of the connection type ``nats``."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors
from airflow.sdk import BaseHook

from kai_airflow.errors import KaiAirflowError
from kai_airflow.messaging.connection import connect
from kai_airflow.nats.address import DEFAULT_CONN_ID, address, async_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.messaging.address import NatsAddress
    from kai_airflow.messaging.connection import Connection

_PATIENCE = 2.0  # seconds that somebody who pressed a button waits for what isn't essential


class NatsHook(BaseHook):
    """A NATS client from an Airflow connection::

        async with NatsHook().get_conn() as connection:
            await connection.js.publish("orders.new", b"...")

    ``connection.nc`` is nats-py's client, ``connection.js`` its JetStream. It reconnects by itself; in the end
    everything that was published has reached the server.

    :param nats_conn_id: the Airflow connection
    """

    conn_name_attr = "nats_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "nats"
    hook_name = "NATS"

    def __init__(self, nats_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.nats_conn_id = nats_conn_id

    @asynccontextmanager
    async def get_conn(self) -> AsyncIterator[Connection]:
        """Connect, and close in the end.

        :raises ConnectionMissingError: Airflow has no such connection
        :raises ConnectionWrongError: it says something that can't be used
        :raises NatsUnavailableError: nobody there, or we are refused
        """
        where = await async_address(self.nats_conn_id)
        async with connect(where, name=f"kai-airflow {self.nats_conn_id}") as connection:
            yield connection

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button shows: whether it connects, and to what."""
        try:
            return True, asyncio.run(self._tested(address(self.nats_conn_id)))
        except KaiAirflowError as error:
            return False, str(error)

    async def _tested(self, where: NatsAddress) -> str:
        async with connect(where, name=f"kai-airflow test of {self.nats_conn_id}") as connection:
            version = connection.nc.connected_server_version
            number = f"{version.major}.{version.minor}.{version.patch}"
            return f"Connected to {where}, nats-server {number}. {await _jetstream(connection)}"


async def _jetstream(connection: Connection) -> str:
    try:
        info = await connection.nc.jetstream(timeout=_PATIENCE).account_info()
    except nats.js.errors.APIError:
        return "JetStream is off for this account: plain NATS only. Remedy: turn it on where messages must be kept."
    except nats.errors.Error:
        return "JetStream can't be asked: this user may not, or it is overloaded."
    return f"JetStream is on, with {info.streams} streams."
