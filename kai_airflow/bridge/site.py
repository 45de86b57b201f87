"""Where everything is that a bridge ties together: KRT files, NATS, Airflow; and its settings."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_airflow.errors import KaiAirflowError
from kai_airflow.kube import Publishing
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.messaging.streams import Retention

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUED_RUNS = 1000
LOCAL = "http://localhost:8080"
VARIABLES = ("KAI_AIRFLOW_URL", "KAI_AIRFLOW_USER", "KAI_AIRFLOW_PASSWORD")


class SiteError(KaiAirflowError):
    """Nobody can tell where things are."""


@dataclass(frozen=True)
class AirflowSite:
    """Airflow's URL, as in its ``[api] base_url``, and the user of its API."""

    url: str
    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> AirflowSite:
        """From the variables KAI_AIRFLOW_URL, KAI_AIRFLOW_USER, KAI_AIRFLOW_PASSWORD."""
        url, user, password = (environment.get(name, "") for name in VARIABLES)
        return cls((url or LOCAL).rstrip("/"), user, password)


@dataclass(frozen=True)
class Settings:
    """What Airflow's configuration section ``[kai_airflow]`` says to the bridge.

    ``max_queued_runs``: how many runs of a DAG may wait in Airflow; more messages wait in their stream.
    """

    retention: Retention = field(default_factory=Retention)
    max_queued_runs: int = QUEUED_RUNS
    publishing: Publishing = field(default_factory=Publishing)


@dataclass(frozen=True)
class Cluster:
    """The Kubernetes cluster of Airflow's connection ``kubernetes_default``.

    ``namespace``: where a workflow lives whose KRT names none. ``kubeconfig``: a file's path, or ``config`` what would
    stand in it; without either it is the cluster that this runs in, or else that of KUBECONFIG.
    """

    namespace: str = "default"
    kubeconfig: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    context: str | None = None


@dataclass(frozen=True)
class Site:
    """All of it. ``folders`` hold the KRT files that Airflow makes DAGs of.

    ``services``: sections of app.yaml beside NATS, as the connection ``kai_services`` says, with their secrets.
    """

    folders: tuple[Path, ...]
    nats: NatsAddress
    airflow: AirflowSite
    settings: Settings = field(default_factory=Settings)
    cluster: Cluster = field(default_factory=Cluster)
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def to_json(self) -> str:
        """For another process, secrets included."""
        said = {
            "folders": [str(folder) for folder in self.folders],
            "nats": self.nats.as_json(),
            "airflow": asdict(self.airflow),
            "settings": asdict(self.settings),
            "cluster": asdict(self.cluster),
            "services": dict(self.services),
        }
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: str | bytes) -> Site:
        """Read it back."""
        said: dict[str, Any] = json.loads(text)
        settings: dict[str, Any] = said["settings"]
        return cls(
            folders=tuple(map(Path, said["folders"])),
            nats=NatsAddress.from_json(said["nats"]),
            airflow=AirflowSite(**said["airflow"]),
            settings=Settings(
                retention=Retention(**settings.pop("retention")),
                publishing=Publishing(**settings.pop("publishing")),
                **settings,
            ),
            cluster=Cluster(**said["cluster"]),
            services=said["services"],
        )


async def ask_airflow() -> Site:
    """The site of the Airflow that is configured here: its bundles, ``nats_default``, ``[kai_airflow]``.

    Airflow takes seconds and memory to import: a process of its own does, and ends.

    :raises SiteError: Airflow can't tell, with what it says
    """
    command = (sys.executable, "-P", "-m", "kai_airflow.bridge.airflow_site")
    asked = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, trouble = await asked.communicate()
    if asked.returncode:
        said = trouble.decode(errors="replace").strip().splitlines()
        raise SiteError(said[-1] if said else f"asking Airflow for its configuration ended with {asked.returncode}")
    return Site.from_json(told.splitlines()[-1])
