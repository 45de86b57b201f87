"""The board: real NATS and Kubernetes, that may be away; nobody waits for them for long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from kai_airflow.bridge.site import AirflowSite, Cluster, Site, SiteError
from kai_airflow.bridge.survey import Survey
from kai_airflow.messaging.address import NatsAddress
from kai_airflow.ui import board as module
from kai_airflow.ui.board import Board
from tests.bridge.conftest import local
from tests.cli.conftest import krt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kai_airflow.ui.board import Look
    from tests.bridge.clusters import LocalKubernetes
    from tests.conftest import NatsServer

__all__ = ["local"]

DAG = "shop.train"
NOBODY = NatsAddress("nats://127.0.0.1:1")


class Airflow:
    """Says where things are, when it is let."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers = asyncio.Event()
        self.answers.set()
        self.error: SiteError | None = None

    async def ask(self) -> Site:
        await self.answers.wait()
        if self.error:
            raise self.error
        return self.site


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    (tmp_path / "dags" / "shop").mkdir(parents=True)
    (tmp_path / "dags" / "shop" / "krt.yaml").write_text(krt())
    return tmp_path / "dags"


@pytest.fixture
async def board(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Board]:
    monkeypatch.setattr(module, "FRESH", 0.0)
    made = Board()
    yield made
    await made.close()


def site(dags: Path, nats: NatsAddress, cluster: Cluster) -> Site:
    return Site((dags,), nats, AirflowSite("http://airflow", "", ""), cluster=cluster)


def asking(patch: pytest.MonkeyPatch, where: Site) -> Airflow:
    airflow = Airflow(where)
    patch.setattr(module, "ask_airflow", airflow.ask)
    return airflow


async def seen(board: Board) -> Look:
    """The first look that has come to an end."""
    async with asyncio.timeout(30):
        while (look := await board.look()).is_first and "being looked up" in look.troubles[0]:
            pass
        return look


async def test_all_of_a_site(
    board: Board, dags: Path, nats_server: NatsServer, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, site(dags, NatsAddress(nats_server.url), local.cluster))
    look = await seen(board)
    assert (list(look.workflows), look.waiting, look.troubles) == ([DAG], {DAG: 0}, ())
    assert look.objects is not None


async def test_who_is_away_is_told_and_hides_nothing_else(
    board: Board, dags: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, site(dags, NOBODY, local.cluster))
    look = await seen(board)
    assert list(look.workflows) == [DAG]
    assert look.objects is not None
    assert look.waiting == {}
    (trouble,) = look.troubles
    assert trouble.startswith("NATS")


async def test_kubernetes_and_nats_away(
    board: Board, dags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, site(dags, NOBODY, Cluster(kubeconfig=str(tmp_path / "none"))))
    look = await seen(board)
    assert (list(look.workflows), look.objects) == ([DAG], None)
    assert sorted(trouble.split()[0].strip(":(") for trouble in look.troubles) == ["Kubernetes", "NATS"]


async def test_nobody_waits_for_a_slow_one(
    board: Board, dags: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = asking(monkeypatch, site(dags, NOBODY, local.cluster))
    airflow.answers.clear()
    began = time.monotonic()
    look = await board.look()
    assert look.is_first
    assert module.PATIENCE <= time.monotonic() - began < module.PATIENCE + 5
    airflow.answers.set()
    assert list((await seen(board)).workflows) == [DAG]


async def test_an_airflow_that_cannot_tell_is_asked_again(
    board: Board, dags: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = asking(monkeypatch, site(dags, NOBODY, local.cluster))
    airflow.error = SiteError("no nats_default. Remedy: make one.")
    assert (await board.look()).troubles == ("no nats_default. Remedy: make one.",)
    airflow.error = None
    async with asyncio.timeout(30):
        while not (look := await board.look()).workflows:
            pass
    assert list(look.workflows) == [DAG]


async def test_a_folder_that_is_not_there_is_told(
    board: Board, tmp_path: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, site(tmp_path / "gone", NOBODY, local.cluster))
    assert f"The KRT files' folder {tmp_path / 'gone'} isn't there" in (await seen(board)).troubles[0]


async def test_a_broken_file_is_counted(
    board: Board, dags: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dags / "krt.yaml").write_text("version: [")
    asking(monkeypatch, site(dags, NOBODY, local.cluster))
    assert "1 KRT file(s) have errors" in (await seen(board)).troubles[0]


async def test_a_defect_of_ours_does_not_stay(
    board: Board, dags: Path, local: LocalKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(monkeypatch, site(dags, NOBODY, local.cluster))
    with monkeypatch.context() as patch:
        patch.setattr(board._survey, "look", lambda: 1 / 0)
        patch.setattr(module, "Survey", lambda _: board._survey)
        assert (await board.look()).troubles == ("A defect: see the API server's log.",)
    board._survey = Survey((dags,))
    async with asyncio.timeout(30):
        while not (look := await board.look()).workflows:
            pass
    assert list(look.workflows) == [DAG]
