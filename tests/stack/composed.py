"""docker-compose.yaml's services as processes of this machine.

There is no Docker here. What a container is made of there is: namespaces. In one set of them, shared by all services,
their names are in /etc/hosts and their volumes where the file mounts them; all else may only be read. Commands, users,
environment, ports, health checks and their order are those of the file. Images can't be had: their programs are ours,
and in the place of k3s is the local Kubernetes API.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kai_airflow.local import programs
from tests.compose.composing import ROOT, services

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

LASTING = "unless-stopped"
NAMESPACES = ("--net", "--mount", "--pid")
STARTED = 300.0  # seconds until a service is well; all of them take about 40 on two idle cores
NOBODY = 65534  # who PostgreSQL runs as: its own image has a user for it
# Root may enter every folder, and here the interpreter may be in one of root's.
REACH = "-all,+dac_read_search"

# A copy of all files, in which nothing that happens is seen outside.
WORLD = """
root=/mnt/root
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work "$root"
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
mount -t tmpfs tmpfs "$root/tmp"
ip link set lo up
"""
_REMAIN = "exec chroot \"$root\" sh -c 'echo ready; exec sleep infinity'"

# What the image's own start does, on data in an empty folder.
_POSTGRES = """
printf %s "$POSTGRES_PASSWORD" > /tmp/password
initdb --username "$POSTGRES_USER" --pwfile /tmp/password $POSTGRES_INITDB_ARGS --pgdata "$0" --no-instructions
echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$0" postgres
exec "$@" -D "$0" -c listen_addresses=127.0.0.1 -c unix_socket_directories=
"""
_KUBERNETES = "python -m kai_airflow.local.kubernetes --home /output --images /opt/airflow/dags/images.yaml --port 6443"
_POSTGRES_DATA = "/var/lib/postgresql/data"


class ServiceEndedError(AssertionError):
    """A service ended, or isn't well in time; with what it printed."""


def possible() -> bool:
    """Whether this machine lets us make namespaces, and mounts in them."""
    command = ["unshare", *NAMESPACES, "--fork", "--mount-proc", "sh", "-euc", WORLD]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass
class Composed:
    """A folder's docker-compose.yaml; entered, all of its services are well, left, they are gone."""

    folder: Path
    understood: dict[str, Any] = field(init=False)
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Start everything in its order."""
        self.understood = services(self.folder)
        self._stand_ins()
        self._volumes()
        self._holder = self._make_world()
        try:
            for names in self._order():
                for name in names:
                    self._start(name)
                for name in names:
                    self._await(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything: the first process of a PID namespace takes all others along."""
        self._end()

    def run(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """``docker compose exec``: a command where a service runs, as its user, in its environment."""
        return subprocess.run(
            [*self._inside(service), *command],
            env=self._environment(service),
            capture_output=True,
            text=True,
            check=False,
            timeout=STARTED,
        )

    def runs(self, service: str) -> bool:
        """Whether it hasn't ended."""
        return self._started[service].poll() is None

    def said(self, service: str) -> str:
        """All that it printed."""
        return self._log(service).read_text()

    def _stand_ins(self) -> None:
        """What an image would bring: PostgreSQL and NATS by name, and a Kubernetes API."""
        postgres, k3s = self.understood["services"]["postgres"], self.understood["services"]["k3s"]
        postgres |= {"user": str(NOBODY), "entrypoint": ["sh", "-euc", _POSTGRES, _POSTGRES_DATA]}
        k3s |= {
            "user": "root",
            "command": shlex.split(_KUBERNETES),
            "healthcheck": {"test": ["CMD", "test", "-s", "/output/config"]},
        }

    def _volumes(self) -> None:
        """Empty volumes, owned as images have it; the kubeconfig has the name in the volume that k3s gives it."""
        owners = {"airflow": (50000, 0), "k3s-kubeconfig": (50000, 0), "postgres": (NOBODY, NOBODY)}
        for name in self.understood["volumes"]:
            volume = self.folder / "volumes" / name
            volume.mkdir(parents=True)
            os.chown(volume, *owners.get(name, (0, 0)))
        for inner in ("dags", "plugins"):
            (self.folder / "volumes/airflow" / inner).mkdir()
        (self.folder / "volumes/k3s-output/config").symlink_to("kubeconfig")

    def _make_world(self) -> subprocess.Popen[bytes]:
        script = "\n".join((WORLD, *self._mounts(), 'mount -o remount,ro "$root"', _REMAIN))
        # All of it ends when we do, however that is.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child"]
        command += ["sh", "-euc", script]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert holder.stdout
        assert holder.stderr
        if holder.stdout.readline() != b"ready\n":
            holder.kill()
            raise ServiceEndedError(holder.communicate()[1].decode())
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()
        self._first = int(children.split()[0])
        return holder

    def _mounts(self) -> Iterator[str]:
        """Shell lines that put files where services have them, outer folders first."""
        address = self.understood["services"]["nats"]["networks"]["default"]["ipv4_address"]
        yield f"ip address add {address}/32 dev lo"
        for path in sorted({ROOT, Path(sys.prefix), Path(sys.base_prefix)}):
            yield f'mkdir -p "$root{path}"; mount --rbind {shlex.quote(str(path))} "$root{path}"'
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 {' '.join(self._names())}\n")
        yield f'mount --bind {shlex.quote(str(hosts))} "$root/etc/hosts"'
        for target, source in sorted(self._mounted().items()):
            make = "mkdir -p" if source.is_dir() else f'mkdir -p "$root{Path(target).parent}"; touch'
            yield f'{make} "$root{target}"; mount --bind {shlex.quote(str(source))} "$root{target}"'

    def _names(self) -> Iterator[str]:
        yield "localhost"
        for name, service in self.understood["services"].items():
            yield name
            yield from ((service.get("networks") or {}).get("default") or {}).get("aliases", ())

    def _mounted(self) -> dict[str, Path]:
        """What is where. Services see the same at the same path, or this world couldn't be one for all."""
        found: dict[str, Path] = {}
        for service in self.understood["services"].values():
            for volume in service.get("volumes", ()):
                named = volume["type"] == "volume"
                source = self.folder / "volumes" / volume["source"] if named else Path(volume["source"])
                assert found.setdefault(volume["target"], source) == source
            for one in service.get("configs", ()):
                file = self.folder / one["source"]
                file.write_text(self.understood["configs"][one["source"]]["content"])
                found[one["target"]] = file
        return found

    def _order(self) -> Iterator[list[str]]:
        """All services: those that can start at once, then those that depend on them, and so on."""
        waiting = {name: set(s.get("depends_on", ())) for name, s in self.understood["services"].items()}
        while waiting:
            ready = [name for name, needs in waiting.items() if not needs & waiting.keys()]
            assert ready, f"these wait for each other: {', '.join(waiting)}"
            yield ready
            waiting = {name: needs for name, needs in waiting.items() if name not in ready}

    def _start(self, name: str) -> None:
        service = self.understood["services"][name]
        command = [*(service.get("entrypoint") or ()), *(service.get("command") or ())]
        with self._log(name).open("wb") as log:
            self._started[name] = subprocess.Popen(
                [*self._inside(name), *command], env=self._environment(name), stdout=log, stderr=subprocess.STDOUT
            )

    def _await(self, name: str) -> None:
        """Wait until it is well, or has done what it does once."""
        service = self.understood["services"][name]
        if "healthcheck" in service:
            self._wait_until_well(name, service["healthcheck"]["test"][1:])
        elif service.get("restart") != LASTING and self._started[name].wait(STARTED) != 0:
            raise ServiceEndedError(f"{name}: {self.said(name)}")

    def _wait_until_well(self, name: str, test: Sequence[str]) -> None:
        deadline = time.monotonic() + STARTED
        while (looked := self.run(name, *test)).returncode != 0:
            if not self.runs(name) or time.monotonic() > deadline:
                raise ServiceEndedError(f"{name}: {looked.stderr}{self.said(name)}")
            time.sleep(0.2)

    def _inside(self, name: str) -> list[str]:
        user, _, group = self.understood["services"][name]["user"].partition(":")
        enter = ["nsenter", "--target", str(self._first), *NAMESPACES, "--root", "--wd"]
        if user == "root":
            return enter
        drop = ["setpriv", "--reuid", user, "--regid", group or user, "--clear-groups", "--no-new-privs"]
        return [*enter, *drop, f"--inh-caps={REACH}", f"--ambient-caps={REACH}", f"--bounding-set={REACH}"]

    def _environment(self, name: str) -> dict[str, str]:
        """What the file says, above what the Dockerfile says where the service has our image."""
        service = self.understood["services"][name]
        found = re.search(r"^ENV (.*)$", (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1], re.MULTILINE)
        assert found
        image = dict(pair.split("=", 1) for pair in found[1].split())
        ours = (
            sysconfig.get_path("scripts"),
            str(programs.nats_server().parent),
            str(programs.postgres("postgres").parent),
        )
        image["PATH"] = os.pathsep.join((*ours, os.defpath))
        image |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return {**image, **service.get("environment", {})}

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _end(self) -> None:
        os.kill(self._first, 9)
        for process in (*self._started.values(), self._holder):
            process.communicate()
