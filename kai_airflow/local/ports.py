"""TCP ports of this machine alone (127.0.0.1)."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from kai_airflow.local.errors import StackError

HOST = "127.0.0.1"


def free(count: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as attempt:
        # As servers do: a connection that was closed a moment ago doesn't count.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
            attempt.listen()
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    """Raise StackError where the UI can't listen on this port."""
    if not 0 < port < 1 << 16:
        raise StackError(f"port {port}: a port is a number from 1 to 65535. Remedy: choose another with --port.")
    if not is_free(port):
        raise StackError(
            f"port {port} of {HOST} is busy. Remedy: stop what listens there, or choose another with --port."
        )
