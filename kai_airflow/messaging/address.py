"""Where NATS is and how to log in there, as data; ``login.py`` makes of it what the client takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from kai_airflow.messaging.errors import NatsAddressError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMES = {"nats", "tls"}
_PEM = "-----BEGIN"
_SEED = 58  # characters of a user's nkey seed


@dataclass(frozen=True)
class NatsAddress:
    """Where NATS is, and as whom we come. Its ``str`` and ``repr`` show no password, token, or key.

    :param url: ``nats://[user:password@]host:port`` or ``tls://...`` or ``host:port``, or several with commas between;
        ``tls`` is never satisfied with a connection in the clear
    :param user: the login, with ``password``, unless it stands in ``url``
    :param token: instead of user and password
    :param creds: instead of them, a creds file (a user's JWT and seed): its path, or what stands in it
    :param nkey: instead of them, an nkey: its seed, or the path of a file with the seed
    :param tls_ca: the certificate authorities that the server's certificate is checked against, instead of the
        system's; path or PEM text
    :param tls_cert: the client's certificate; path or PEM text
    :param tls_key: its key, unless it stands with the certificate; path or PEM text
    :param pods: the address that pods use, where it differs; as ``url``
    """

    url: str
    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    nkey: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    pods: str = ""

    @property
    def servers(self) -> list[str]:
        """The addresses one by one, as they were given: with the logins that stand in them."""
        return _split(self.url)

    @property
    def demands_tls(self) -> bool:
        """Whether a server without TLS is the wrong one: nothing is said to it then."""
        return bool(self.tls_ca or self.tls_cert) or any(server.startswith("tls://") for server in self.servers)

    @property
    def pods_url(self) -> str:
        """The address for a pod's app.yaml, with its login: all that the SDKs know is an address.

        :raises NatsAddressError: the login is one that an address can't carry
        """
        if not self.pods and (self.creds or self.nkey or self.tls_cert):
            raise NatsAddressError(
                f"NATS: {self}: pods can't log in there: they know an address with a user and password or a token, and "
                "this login is a creds file, an nkey or a client certificate. Remedy: give an address for pods."
            )
        return ",".join(self._with_login(server) for server in self.pods_servers or self.servers)

    def secrets(self) -> Iterator[str]:
        """All that a log mustn't show, each line of a text by itself, quoted where an address holds it quoted."""
        for secret in (self.password, self.token, *map(_password, (*self.servers, *self.pods_servers))):
            if secret:
                yield secret
                yield quote(secret, safe="")
        for text in (self.creds, self.nkey, self.tls_key):
            if is_content(text):
                yield from filter(None, map(str.strip, text.splitlines()))

    def as_json(self) -> dict[str, str]:
        """For another process. It holds the secrets: a pipe, or a file that its owner alone may read."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NatsAddress:
        """What ``as_json`` gave."""
        return cls(**data)

    def __str__(self) -> str:
        return ",".join(_shown(self._with_login(server)) for server in self.servers)

    def __repr__(self) -> str:
        return f"NatsAddress({str(self)!r})"

    @property
    def pods_servers(self) -> list[str]:
        """The addresses for pods one by one, where they differ."""
        return _split(self.pods) if self.pods else []

    def _with_login(self, server: str) -> str:
        scheme, slashes, rest = server.rpartition("://")
        if "@" in rest or not (self.user or self.token):
            return server
        who = [self.user, self.password] if self.user else [self.token]
        return f"{scheme or 'nats'}{slashes or '://'}{':'.join(quote(part, safe='') for part in who)}@{rest}"


def is_content(text: str) -> bool:
    """Whether this is a key or a certificate itself, not the path of a file with it."""
    return _PEM in text or (len(text.strip()) == _SEED and text.strip().startswith("SU"))


def login_in(servers: list[str]) -> tuple[str, str] | None:
    """The user and the password that stand in each of these addresses, unquoted; a user alone is a token.

    None where none has one, or they differ.
    """
    found = {server.rpartition("://")[2].rpartition("@")[0] for server in servers}
    userinfo = found.pop() if len(found) == 1 else ""
    user, _, password = userinfo.partition(":")
    return (unquote(user), unquote(password)) if userinfo else None


def without_login(server: str) -> str:
    """The address without the login in it."""
    scheme, slashes, rest = server.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def check(address: NatsAddress) -> None:
    """See that each address is one.

    :raises NatsAddressError: one isn't
    """
    for server in (*address.servers, *address.pods_servers):
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            senseless = parts.scheme not in SCHEMES or not parts.hostname or parts.port == 0
        except ValueError:  # a port that is no number, a bracket without its other half
            senseless = True
        if senseless:
            raise NatsAddressError(f"NATS: {_shown(server)!r} is no address. Remedy: write nats://host:port.")


def _split(url: str) -> list[str]:
    return [server.strip() for server in url.split(",")]


def _password(server: str) -> str:
    user, colon, password = server.rpartition("://")[2].rpartition("@")[0].partition(":")
    return unquote(password if colon else user)


def _shown(server: str) -> str:
    userinfo, at, rest = server.rpartition("@")
    if not at:
        return server
    scheme, slashes, secret = userinfo.rpartition("://")
    user, colon, _ = secret.partition(":")
    return f"{scheme}{slashes}{user if colon else '***'}{':***' if colon else ''}@{rest}"
