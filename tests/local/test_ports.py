"""Ports of this machine."""

from __future__ import annotations

import socket

import pytest

from kai_airflow.local import ports
from kai_airflow.local.errors import StackError


def test_free_ports_are_different_and_free() -> None:
    found = ports.free(20)
    assert len(set(found)) == 20
    assert all(ports.is_free(port) for port in found)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # somebody else's server
def test_a_busy_port_is_named_with_what_to_do(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} of 127\.0\.0\.1 is busy.*--port"):
            ports.require_free(port)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(StackError, match=rf"port {port}: a port is a number from 1 to 65535.*--port"):
        ports.require_free(port)


def test_a_port_whose_server_is_gone_is_free_though_its_connections_linger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the side that closes first lingers
    ports.require_free(port)
