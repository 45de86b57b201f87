"""The local Kubernetes API, as the tests of the operators have it; an Airflow that behaves and fails as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.client import Airflow, reaching
from tests.bridge.airflow_stub import AirflowStub
from tests.operators.conftest import api, kubernetes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
