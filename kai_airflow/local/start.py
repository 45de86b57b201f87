"""The order in which the parts of a stack start: each as soon as what it needs is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from kai_airflow.bridge.site import AirflowSite, Cluster, Site
from kai_airflow.local import airflow, bridge, cluster, nats, postgres, sweeper
from kai_airflow.local.home import write_private
from kai_airflow.local.keeper import Service, at_once
from kai_airflow.local.progress import reported
from kai_airflow.local.waiting import together, until
from kai_airflow.messaging.address import NatsAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kai_airflow.local.airflow import Addresses
    from kai_airflow.local.home import Home, Secrets
    from kai_airflow.local.keeper import Keeper
    from kai_airflow.local.progress import Progress
    from kai_airflow.local.supervisor import Supervisor

SOON = 60.0  # seconds for what takes one on an idle machine
AIRFLOW_START = 180.0  # seconds; on two idle cores it takes about ten

# Those of the highest rank are stopped first: tasks, then what they talk to, the database last.
POSTGRES, NATS, KUBERNETES, AIRFLOW = range(4)


@dataclass(frozen=True)
class Start:
    """One start of a stack. ``basis``: the environment of all parts; Airflow's have more."""

    supervisor: Supervisor
    keeper: Keeper
    home: Home
    secrets: Secrets
    addresses: Addresses
    basis: Mapping[str, str]
    progress: Progress

    async def parts(self) -> None:
        """Start all parts and wait until they are well. Raises StackError, PartEndedError."""
        await together(self._nats(), self._kubernetes(), self._airflow())
        write_private(self.home.site, self._site().to_json())
        await together(self._sweeper(), self._bridge())

    def _site(self) -> Site:
        return Site(
            folders=(self.addresses.dags,),
            nats=NatsAddress(nats.url(self.addresses.nats, self.secrets.nats)),
            airflow=AirflowSite(airflow.ui(self.addresses.ui), airflow.USER, self.secrets.admin),
            cluster=Cluster(kubeconfig=str(self.home.kubeconfig)),
        )

    async def _bridge(self) -> None:
        with reported(self.progress, bridge.NAME):
            await self._begin(Service(bridge.part(self.home, self.basis, AIRFLOW), lambda _: at_once()))

    async def _sweeper(self) -> None:
        ui = airflow.ui(self.addresses.ui)
        part = sweeper.part(self.home.kubeconfig, ui, self.secrets.admin, self.basis, AIRFLOW)
        with reported(self.progress, sweeper.NAME):
            await self._begin(Service(part, lambda _: at_once()))

    async def _nats(self) -> None:
        part = nats.part(self.home.nats, self.addresses.nats, self.secrets.nats, self.basis, NATS)
        url = nats.url(self.addresses.nats, self.secrets.nats)
        with reported(self.progress, nats.NAME):
            await self._begin(Service(part, lambda _: nats.answers(url)))

    async def _kubernetes(self) -> None:
        images = self.addresses.dags / cluster.IMAGES
        self.home.kubeconfig.unlink(missing_ok=True)  # of a stack that was killed
        doors = cluster.Doors(self.addresses.kubernetes, self.addresses.ingress)
        part = cluster.part(self.home.kubernetes, doors, images, self.basis, KUBERNETES)
        with reported(self.progress, cluster.NAME):
            await self._begin(Service(part, lambda _: cluster.answers(self.home.kubeconfig)))

    async def _postgres(self) -> None:
        part = postgres.part(self.home.postgres, self.addresses.postgres, self.basis, POSTGRES)
        with reported(self.progress, postgres.NAME):
            if not self.home.postgres.exists():
                await self._make_database()
            await until(postgres.NAME, self._database_is_free, SOON)
            await self._begin(Service(part, lambda _: self._database_answers(), self._database_is_free))

    async def _database_is_free(self) -> bool:
        return postgres.is_free(self.home.postgres)

    async def _database_answers(self) -> bool:
        return await postgres.answers(airflow.database_url(self.secrets, self.addresses.postgres))

    async def _begin(self, service: Service) -> None:
        since = datetime.now(UTC)
        await self.keeper.start(service)
        await until(service.part.name, lambda: service.well(since), SOON)

    async def _make_database(self) -> None:
        fresh, password = self.home.path / "postgres.new", self.home.path / "postgres.password"
        postgres.make_folder(fresh)
        write_private(password, self.secrets.postgres)
        try:
            await self.supervisor.run(postgres.creation(fresh, password, self.basis, POSTGRES))
        finally:
            password.unlink()
        fresh.rename(self.home.postgres)  # whole, or not there

    async def _airflow(self) -> None:
        await self._postgres()
        variables = airflow.environment(self.basis, self.home, self.secrets, self.addresses)
        airflow.write_passwords(self.home, self.secrets)
        await self._migrate(variables)
        await self._components(variables)

    async def _components(self, variables: Mapping[str, str]) -> None:
        since, began = datetime.now(UTC), time.monotonic()
        waiting = set()
        for part in airflow.components(variables, AIRFLOW):
            self.progress.starting(part.name)
            await self.keeper.start(Service(part, partial(self._is_well, part.name), self._database_answers))
            waiting.add(part.name)

        async def all_well() -> bool:
            for name in waiting & await airflow.well(self.addresses.ui, since):
                waiting.remove(name)
                self.progress.ready(name, time.monotonic() - began)
            return not waiting

        await until("Airflow", all_well, AIRFLOW_START)

    async def _is_well(self, name: str, since: datetime) -> bool:
        return name in await airflow.well(self.addresses.ui, since)

    async def _migrate(self, variables: Mapping[str, str]) -> None:
        """Bring Airflow's tables up to date, once per version of Airflow: it takes seconds even for nothing."""
        mark, current = self.home.airflow / "migrated", version("apache-airflow-core")
        if mark.exists() and mark.read_text() == current:
            return
        with reported(self.progress, airflow.MIGRATION):
            await self.supervisor.run(airflow.migration(variables, AIRFLOW))
        write_private(mark, current)
