"""The folder in which a stack keeps everything, its secrets, and the lock that keeps a second stack out."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from kai_airflow.local import ports
from kai_airflow.local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFTOVERS = 10.0  # seconds for what a killed `up` left to end itself
POLL = 0.1  # seconds


@dataclass(frozen=True)
class Home:
    """The stack's folder, absolute, and the places in it."""

    path: Path

    @property
    def lock(self) -> Path:
        """What a stack holds as long as any of it runs, with the id of its `up` in it."""
        return self.path / "lock"

    @property
    def logs(self) -> Path:
        """What the parts print, a file each."""
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        """nats-server's configuration and JetStream's files."""
        return self.path / "nats"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data."""
        return self.path / "postgres"

    @property
    def kubernetes(self) -> Path:
        """The local Kubernetes API's folder."""
        return self.path / "kubernetes"

    @property
    def kubeconfig(self) -> Path:
        """How to reach the local Kubernetes API."""
        return self.kubernetes / "kubeconfig"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.path / "airflow"

    @property
    def site(self) -> Path:
        """Where the parts of the stack that runs here are, secrets included."""
        return self.path / "site.json"

    def ingress_port(self) -> int:
        """Where what is published is reached: the same port with each start, as long as nobody else has taken it."""
        file = self.path / "ingress-port"
        known = file.read_text() if file.exists() else ""
        if not known.isdecimal() or not ports.is_free(int(known)):
            known = str(ports.free(1)[0])
            write_private(file, known)
        return int(known)

    def runs(self) -> bool:
        """Whether a stack runs here, or what a killed one left."""
        if not self.site.exists():
            return False
        descriptor = open_lock(self)
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def require_running(self) -> None:
        """Raise StackError where no stack runs here, or one that is still starting."""
        self.require()
        if not self.runs():
            raise StackError(
                f"{self.path}: no stack runs here, or it is still starting. "
                f"Remedy: `kai-airflow up --home {self.path}`, and wait until it says where it is."
            )

    def require(self) -> None:
        """Raise StackError where no stack has ever been kept here."""
        if not self.lock.exists():
            raise StackError(
                f"{self.path}: no stack was ever kept here. Remedy: name the folder of one with --home, "
                "or make one: `kai-airflow up`."
            )

    def make(self) -> None:
        """Make the folders, for this user alone. Raises StackError where that is impossible."""
        try:
            for folder in (self.path, self.logs, self.nats, self.kubernetes, self.airflow):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            write_private(self.path / ".gitignore", "*\n")
        except OSError as error:
            raise StackError(
                f"{self.path}: can't keep the stack here: {error.strerror}. Remedy: choose another folder with --home."
            ) from error


@dataclass(frozen=True)
class Secrets:
    """What only the parts of one stack know, and the password of its UI."""

    nats: str
    postgres: str
    admin: str
    api: str
    jwt: str
    fernet: str

    @classmethod
    def of(cls, home: Home) -> Secrets:
        """The secrets of this home, made the first time. Raises StackError for a damaged file."""
        file = home.path / "secrets.json"
        if not file.exists():
            write_private(file, json.dumps(asdict(cls._new())))
        try:
            read = json.loads(file.read_bytes())
            return cls(**{field.name: str(read[field.name]) for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StackError(f"{file}: damaged ({error}). Remedy: remove {home.path} and start anew.") from error

    @classmethod
    def _new(cls) -> Secrets:
        return cls(
            nats=secrets.token_hex(16),
            postgres=secrets.token_hex(16),
            admin=secrets.token_hex(6),
            api=secrets.token_hex(32),
            jwt=secrets.token_hex(32),
            fernet=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )


def write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone may read, from its first byte on, and whole or not at all."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    fresh.replace(file)


@contextmanager
def locked(home: Home) -> Iterator[int]:
    """Keep other stacks out of this home; gives the lock's descriptor, which parts inherit.

    So the home stays locked until the last of them has ended, even when ``up`` was killed. Raises StackError where
    another stack runs.
    """
    descriptor = open_lock(home)
    try:
        _lock(descriptor, home)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def open_lock(home: Home) -> int:
    """A descriptor of the home's lock, not locked. Raises StackError where that isn't allowed."""
    try:
        return os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(f"{home.lock}: {error.strerror}. Remedy: be the user whose stack it is.") from error


def _lock(descriptor: int, home: Home) -> None:
    # Where `up` was killed, what it left ends by itself.
    if not freed(descriptor, 0.0 if (running := holder(descriptor)) else LEFTOVERS):
        raise StackError(
            f"{home.path}: a stack runs here already (process {running or 'unknown'}). "
            "Remedy: stop it with `kai-airflow down`, or choose another folder with --home."
        )


def freed(descriptor: int, timeout: float) -> bool:
    """Take the lock as soon as it is free; whether it was within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def holder(descriptor: int) -> int | None:
    """The id of the ``up`` that holds the lock, None where it is gone; its id may be another program's by now."""
    noted = os.pread(descriptor, 20, 0).decode()
    if noted in ("", str(os.getpid())):  # this process has the lock's file open, too, but doesn't hold it
        return None
    return int(noted) if _has_open(noted, os.fstat(descriptor)) else None


def _has_open(process: str, file: os.stat_result) -> bool:
    try:
        opened = list(Path("/proc", process, "fd").iterdir())
        return any(os.path.samestat(one.stat(), file) for one in opened if one.exists())
    except OSError:  # ended meanwhile, or another user's
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
