"""A connection to NATS: made soon or not at all, kept afterwards."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from kai_airflow.messaging.errors import NatsUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from nats.js import JetStreamContext

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_CONNECT = 5.0  # seconds in which a server must have taken us in
API_ANSWER = 10.0  # seconds that JetStream may take for an answer
GOODBYE = 2  # seconds in which what was published must have reached the server, when a connection is closed
SCHEMES = {"nats", "tls"}
# A connection that stands and brings nothing any more is given up after two or three pings without an answer; a firewall
# or a machine that went away tells nobody. The client's own pings are two minutes apart.
PING = 5.0  # seconds between pings
RECONNECT_WAIT = 0.25  # seconds between attempts on the same server


@dataclass(frozen=True)
class NatsAddress:
    """Where NATS is: ``nats://[user:password@]host:port``, or several of them with commas between.

    Its ``str`` and ``repr`` show no password and no token.
    """

    url: str

    @property
    def servers(self) -> list[str]:
        """The addresses one by one, secrets included."""
        return [server.strip() for server in self.url.split(",")]

    def as_json(self) -> dict[str, str]:
        """For another process, secrets included."""
        return {"url": self.url}

    @classmethod
    def from_json(cls, said: Mapping[str, str]) -> NatsAddress:
        """Read it back."""
        return cls(**said)

    def __str__(self) -> str:
        return ",".join(_shown(server) for server in self.servers)

    def __repr__(self) -> str:
        return f"NatsAddress({str(self)!r})"


@dataclass
class Breaks:
    """Tells whoever waits for an answer that it won't come: the connection broke, and was made anew since."""

    mended: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self) -> None:
        """It is there again; what comes later breaks anew."""
        self.mended.set()
        self.mended = asyncio.Event()


@dataclass(frozen=True)
class Connection:
    """A NATS client that reconnects by itself, and its JetStream. ``closed`` is set once it is closed for good."""

    nc: Client
    js: JetStreamContext
    closed: asyncio.Event
    breaks: Breaks

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message, headers included."""
        return self.nc.max_payload

    @property
    def server_id(self) -> str:
        """The server that we are connected to. A restarted server has another one.

        An ack that a server took in the last 50 ms before a crash is forgotten: who counts on acks remembers which
        server took them.
        """
        return _server_id(self.nc)

    async def asked(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to a question that changes nothing; asked again where the connection was made anew meanwhile."""
        while True:
            asking = asyncio.ensure_future(question())
            breaking = asyncio.ensure_future(self.breaks.mended.wait())
            try:
                await asyncio.wait((asking, breaking), return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
            finally:
                asking.cancel()
                breaking.cancel()
                await asyncio.gather(asking, breaking, return_exceptions=True)


@asynccontextmanager
async def connect(
    address: NatsAddress | str, *, name: str, timeout: float = FIRST_CONNECT
) -> AsyncIterator[Connection]:
    """Connect, and close in the end with everything published.

    :param name: how this client is called in the server's own lists
    :param timeout: seconds for the first connection; afterwards the client reconnects for as long as it takes
    :raises NatsUnavailableError: a senseless address, nobody there in time, or the server refuses us
    """
    where = NatsAddress(address) if isinstance(address, str) else address
    _check(where)
    closed, breaks = asyncio.Event(), Breaks()
    nc = await _connected(where, name, timeout, closed, breaks)
    try:
        yield Connection(nc, nc.jetstream(timeout=API_ANSWER), closed, breaks)
    finally:
        await _close(nc)


async def _connected(where: NatsAddress, name: str, timeout: float, closed: asyncio.Event, breaks: Breaks) -> Client:
    nc, trouble = Client(), _Trouble()

    async def tell() -> None:
        closed.set()

    try:
        async with asyncio.timeout(timeout):
            await nc.connect(
                where.servers,
                name=name,
                error_cb=trouble.report,
                closed_cb=tell,
                reconnected_cb=breaks.tell,
                max_reconnect_attempts=-1,
                ping_interval=PING,  # type: ignore[arg-type]  # seconds; a fraction works
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # seconds; a fraction works
            )
    except TimeoutError as error:
        await _close(nc)
        raise NatsUnavailableError(_nobody(where, timeout, trouble.last)) from error
    except nats.errors.Error as error:
        await _close(nc)
        raise NatsUnavailableError(_refused(where, error)) from error
    trouble.connected = True
    return nc


def _server_id(nc: Client) -> str:
    return str(nc._server_info.get("server_id", ""))  # the client has no public name for it


class _Trouble:
    """The client's errors, which it would print with a traceback otherwise."""

    def __init__(self) -> None:
        self.connected = False
        self.last: Exception | None = None

    async def report(self, error: Exception) -> None:
        self.last = error
        if not self.connected and _hopeless(error):
            raise error  # out of Client.connect, which would try until the time is up
        log.log(logging.WARNING if self.connected else logging.DEBUG, "NATS: %s", error)


def _hopeless(error: Exception) -> bool:
    return isinstance(error, nats.errors.Error) and "authorization" in str(error).lower()


async def _close(nc: Client) -> None:
    if nc.is_connected:
        with suppress(nats.errors.Error, OSError):
            await nc.flush(GOODBYE)
    with suppress(nats.errors.Error, OSError):
        await nc.close()


def _shown(server: str) -> str:
    userinfo, at, rest = server.rpartition("@")
    if not at:
        return server
    scheme, slashes, secret = userinfo.rpartition("://")
    user, colon, _ = secret.partition(":")
    return f"{scheme}{slashes}{user if colon else '***'}{':***' if colon else ''}@{rest}"


def _nobody(where: NatsAddress, timeout: float, last: Exception | None) -> str:
    why = f" ({last})" if last else ""
    return (
        f"NATS: nobody answers at {where} within {timeout:g} s{why}. Remedy: see that nats-server runs there "
        "and that this machine reaches it."
    )


def _refused(where: NatsAddress, error: Exception) -> str:
    return f"NATS: {where} refuses: {error}. Remedy: set the user and password that nats-server knows."


def _check(where: NatsAddress) -> None:
    for server in where.servers:
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            senseless = parts.scheme not in SCHEMES or not parts.hostname or parts.port == 0
        except ValueError:  # a port that is no number, a bracket without its other half
            senseless = True
        if senseless:
            raise NatsUnavailableError(f"NATS: {_shown(server)!r} is no address. Remedy: write nats://host:port.")
