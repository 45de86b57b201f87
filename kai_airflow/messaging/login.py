"""From an address to what the NATS client takes: servers, login, TLS. Files are read here, and nowhere else."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats.errors

from kai_airflow.messaging.address import check, is_content, login_in, without_login
from kai_airflow.messaging.errors import NatsAddressError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.messaging.address import NatsAddress

_JWT, _SEED = "NATS USER JWT", "USER NKEY SEED"


class _UnusableError(nats.errors.Error):
    """A file that doesn't hold what it should. One of the client's own, so that it doesn't end a reconnect for good."""


def options(address: NatsAddress) -> dict[str, Any]:
    """The arguments of ``Client.connect`` that say where and who.

    :raises NatsAddressError: no address, more than one login, or a file that isn't there or holds something else
    """
    check(address)
    _one_login(address)
    try:
        return {**_servers_and_password(address), **_key(address), **_tls(address)}
    except _UnusableError as error:
        raise NatsAddressError(f"NATS: {address}: {error}. Remedy: {_REMEDY}.") from error


_REMEDY = "give the path of a file that this user can read, or what stands in it"


def _one_login(address: NatsAddress) -> None:
    ways = {
        "user and password": address.user or login_in(address.servers),
        "token": address.token,
        "creds": address.creds,
        "nkey": address.nkey,
    }
    given = [way for way, value in ways.items() if value]
    if len(given) > 1:
        raise NatsAddressError(f"NATS: {address}: several logins: {', '.join(given)}. Remedy: give one of them.")


def _servers_and_password(address: NatsAddress) -> dict[str, Any]:
    """The login of the address is given apart from it: the client would send it quoted, and know none for a server
    that it hears of from another.
    """
    if address.user:
        return {"servers": address.servers, "user": address.user, "password": address.password}
    if address.token:
        return {"servers": address.servers, "token": address.token}
    if not (found := login_in(address.servers)):
        return {"servers": address.servers}
    user, password = found
    login = {"user": user, "password": password} if password else {"token": user}
    return {"servers": [without_login(server) for server in address.servers], **login}


def _key(address: NatsAddress) -> dict[str, Any]:
    if address.nkey:
        seed = _text(address.nkey, "nkey").strip()
        _sign(seed, "")
        return {"nkeys_seed_str": seed}
    if address.creds:
        creds = _Creds(address.creds)
        creds.jwt()
        creds.sign("")
        return {"user_jwt_cb": creds.jwt, "signature_cb": creds.sign}
    return {}


@dataclass(frozen=True)
class _Creds:
    """A creds file, read at each connect: it may be renewed. (The client's own reader never ends on another file.)"""

    source: str

    def jwt(self) -> bytearray:
        return bytearray(self._block(_JWT), "ascii")

    def sign(self, nonce: str) -> bytes:
        return _sign(self._block(_SEED), nonce)

    def _block(self, name: str) -> str:
        lines = iter(_text(self.source, "creds").splitlines())
        for line in lines:
            if f"BEGIN {name}" in line:
                return next(lines, "").strip()
        raise _UnusableError(f"no {name} in the creds")


def _sign(seed: str, nonce: str) -> bytes:
    import nkeys  # with libsodium: only where it is used

    try:
        pair = nkeys.from_seed(bytearray(seed, "ascii"))
        return base64.b64encode(pair.sign(nonce.encode()))
    except (nkeys.NkeysError, ValueError) as error:  # ValueError: not the letters of a seed
        raise _UnusableError("the nkey seed is none") from error


def _tls(address: NatsAddress) -> dict[str, Any]:
    if address.tls_key and not address.tls_cert:
        raise NatsAddressError(f"NATS: {address}: a TLS key without its certificate. Remedy: give both.")
    if not (address.tls_ca or address.tls_cert):
        return {}
    context = _context(address.tls_ca)
    if address.tls_cert:
        with _file(address.tls_cert) as certificate, _file(address.tls_key) as key:
            _load(context, certificate, key)
    return {"tls": context}


def _context(authority: str) -> ssl.SSLContext:
    if not authority:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=_text(authority, "certificate authority"))
    except (ssl.SSLError, TypeError, ValueError) as error:  # the latter two: not ASCII
        raise _UnusableError(f"the certificate authority is no PEM text ({_why(error)})") from error


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # Without a password, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key or None, password=b"")
    except ssl.SSLError as error:
        raise _UnusableError(f"the client's certificate and key are no pair in PEM ({_why(error)})") from error
    except OSError as error:
        raise _UnusableError(f"the client's certificate or key: no such file can be read ({error.strerror})") from error


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__


def _text(source: str, what: str) -> str:
    """What stands in the file, if it is one's path. An error doesn't show that: it may be a mistyped key."""
    if is_content(source):
        return source
    try:
        return Path(source).read_text("ascii", "backslashreplace")
    except OSError as error:
        raise _UnusableError(f"{what}: no such file can be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in it
        raise _UnusableError(f"{what}: neither a path nor a key") from error


@contextmanager
def _file(source: str) -> Iterator[str]:
    """A file with it, for as long as OpenSSL reads it: it takes no text."""
    if not is_content(source):
        yield source
        return
    with ExitStack() as stack:
        handle, path = tempfile.mkstemp()  # for its owner alone
        stack.callback(os.unlink, path)
        with open(handle, "w", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            file.write(source)
        yield path
