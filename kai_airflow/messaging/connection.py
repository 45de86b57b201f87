"""A connection to NATS: made soon or not at all, kept afterwards."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import nats.errors
from nats.aio.client import Client

from kai_airflow.messaging import login
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.errors import NatsUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from nats.js import JetStreamContext

__all__ = ["Breaks", "Cancels", "Connection", "NatsAddress", "connect", "flush"]

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_CONNECT = 5.0  # seconds in which a server must have taken us in
API_ANSWER = 10.0  # seconds that JetStream may take for an answer
GOODBYE = 2  # seconds in which what was published must have reached the server, when a connection is closed
RECONNECT_WAIT = 0.25  # seconds between attempts on the same server
# A connection whose other end is gone without a word (a pulled cable, a firewall that forgot it) is noticed when as
# many pings as are allowed have no answer at the time of the next.
PING_INTERVAL = 5
SAY_AGAIN = 60.0  # seconds after which the same trouble is told again
PINGS_WITHOUT_ANSWER = 2


@dataclass
class Breaks:
    """Tells whoever waits for an answer that it won't come: the connection broke, and was made anew since.

    ``made``: when it was made last, by time.monotonic.
    """

    mended: asyncio.Event = field(default_factory=asyncio.Event)
    made: float = field(default_factory=time.monotonic)

    async def tell(self) -> None:
        """It is there again; what comes later breaks anew."""
        self.made = time.monotonic()
        self.mended.set()
        self.mended = asyncio.Event()


class Cancels:
    """Hears of a cancel that was swallowed: before Python 3.12, ``asyncio.wait_for``, on which the client stands, may
    give its result instead. Who would go on for good asks now and then.
    """

    def __init__(self) -> None:
        self._before = self._count()

    def heed(self) -> None:
        """:raises CancelledError: the task was cancelled since"""
        if self._count() > self._before:
            raise asyncio.CancelledError

    @staticmethod
    def _count() -> int:
        task = asyncio.current_task()
        return task.cancelling() if task else 0


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

    @property
    def steady(self) -> float:
        """Seconds since it was made, or made anew; 0 while it is broken."""
        return time.monotonic() - self.breaks.made if self.nc.is_connected else 0.0

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
    :raises NatsAddressError: a senseless address, or a file of its login that can't be used
    :raises NatsUnavailableError: nobody there in time, or the server refuses us
    """
    where = NatsAddress(address) if isinstance(address, str) else address
    closed, breaks, cancels = asyncio.Event(), Breaks(), Cancels()
    nc = await _connected(where, name, timeout, closed, breaks)
    try:
        cancels.heed()
        yield Connection(nc, nc.jetstream(timeout=API_ANSWER), closed, breaks)
    finally:
        await _close(nc)
        closed.set()


async def flush(nc: Client, seconds: float = API_ANSWER) -> None:
    """Wait until the server has all that was published: the client's own ``flush`` asks before it has sent all."""
    held = True
    while held:
        held = nc.pending_data_size > 0
        await nc.flush(seconds)  # type: ignore[arg-type]  # seconds; a fraction works


async def _connected(where: NatsAddress, name: str, timeout: float, closed: asyncio.Event, breaks: Breaks) -> Client:
    nc, trouble, options = _Client(where), _Trouble(), login.options(where)

    async def tell() -> None:
        closed.set()

    try:
        async with asyncio.timeout(timeout):
            await nc.connect(
                **options,
                name=name,
                error_cb=trouble.report,
                closed_cb=tell,
                reconnected_cb=breaks.tell,
                max_reconnect_attempts=-1,
                ping_interval=PING_INTERVAL,
                max_outstanding_pings=PINGS_WITHOUT_ANSWER,
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # seconds; a fraction works
            )
    except TimeoutError as error:
        await _close(nc)
        raise NatsUnavailableError(_nobody(where, timeout, trouble.last)) from error
    except (nats.errors.Error, ssl.SSLError) as error:
        await _close(nc)
        raise NatsUnavailableError(_refused(where, error)) from error
    except asyncio.CancelledError:
        await _close(nc)
        raise
    trouble.connected = True
    return nc


def _server_id(nc: Client) -> str:
    return str(nc._server_info.get("server_id", ""))  # the client has no public name for it


class _Trouble:
    """The client's errors, which it would print with a traceback otherwise."""

    def __init__(self) -> None:
        self.connected = False
        self.last: Exception | None = None
        self._said, self._again = "", 0.0

    async def report(self, error: Exception) -> None:
        self.last = error
        if not self.connected and _hopeless(error):
            raise error  # out of Client.connect, which would try until the time is up
        if str(error) != self._said or time.monotonic() > self._again:  # not at each attempt, four times a second
            self._said, self._again = str(error), time.monotonic() + SAY_AGAIN
            log.log(logging.WARNING if self.connected else logging.DEBUG, "NATS: %s", error)


class _Client(Client):
    """Says nothing to a server without TLS where the address demands it; the stock client would log in there.

    It hears on where a flush was given up or cancelled: the stock client ends its reading over the late answer, and
    all that is asked from then on has none, until its pings find that out. And it is closed also where something
    waits to be sent on a broken connection: the stock client writes it, which is an AttributeError from Python 3.12 on.
    """

    def __init__(self, where: NatsAddress) -> None:
        super().__init__()
        self._demands_tls = where.demands_tls

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._demands_tls and not info.get("tls_required"):
            raise _NoTlsError
        await super()._process_info(info, initial_connection=initial_connection)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if not self.is_connected:
            self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


class _NoTlsError(nats.errors.Error):
    def __str__(self) -> str:
        return "it doesn't require TLS, which this address demands"


def _hopeless(error: Exception) -> bool:
    if isinstance(error, nats.errors.Error):
        return isinstance(error, _NoTlsError) or "authorization" in str(error).lower()
    return isinstance(error, ssl.SSLError)


async def _close(nc: Client) -> None:
    if nc.is_connected:
        with suppress(nats.errors.Error, OSError):
            await flush(nc, GOODBYE)
    # Bounded: the client waits for the end of a transport whose TLS handshake failed, which nobody ever tells it.
    with suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(GOODBYE):
            await nc.close()


def _nobody(where: NatsAddress, timeout: float, last: Exception | None) -> str:
    why = f" ({last})" if last else ""
    return (
        f"NATS: nobody answers at {where} within {timeout:g} s{why}. Remedy: see that nats-server runs there "
        "and that this machine reaches it."
    )


def _refused(where: NatsAddress, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        remedy = (
            "give the certificate authority that signed the server's certificate, and a client certificate if asked"
        )
    elif isinstance(error, _NoTlsError):
        remedy = "have nats-server require TLS, or don't demand it here"
    else:
        remedy = "set the login that nats-server knows: user and password, token, creds or nkey"
    return f"NATS: {where} refuses: {error}. Remedy: {remedy}."
