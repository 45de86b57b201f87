"""The local Kubernetes API, as the tests of the operators have it; an Airflow that behaves and fails as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.client import Airflow, reaching
from kai_airflow.bridge.cluster import client as cluster
from tests.bridge.airflow_stub import AirflowStub
from tests.bridge.clusters import LocalKubernetes
from tests.operators.conftest import api, kubernetes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kai_airflow.bridge.cluster.client import Kubernetes

__all__ = ["airflow", "api", "kubernetes", "stub"]


@pytest.fixture
async def stub() -> AsyncIterator[AirflowStub]:
    """An Airflow that knows the DAG shop.train."""
    async with AirflowStub().running() as running:
        yield running


@pytest.fixture
async def airflow(stub: AirflowStub) -> AsyncIterator[Airflow]:
    """A client of it."""
    async with reaching(stub.site) as client:
        yield client


@pytest.fixture
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKubernetes]:
    """The local Kubernetes API."""
    running = LocalKubernetes(tmp_path_factory.mktemp("kubernetes"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def objects(local: LocalKubernetes) -> AsyncIterator[Kubernetes]:
    """A client of it."""
    async with cluster.reaching(local.cluster) as client:
        yield client
