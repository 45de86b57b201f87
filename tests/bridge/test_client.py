"""Airflow's public API, on a server that answers as Airflow does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from kai_airflow.bridge import client
from kai_airflow.bridge.client import Airflow, AirflowError, Dag, reaching
from kai_airflow.bridge.site import AirflowSite
from tests.bridge.airflow_stub import (
    DAG,
    DAG_FIELDS,
    PASSWORD,
    AirflowStub,
    StubDag,
    StubRun,
    answering,
    dropping_after,
    hanging,
)

if TYPE_CHECKING:
    from tests.bridge.airflow_stub import Act

CONF: dict[str, Any] = {"payload": 1}


async def test_a_run_is_started_once_and_found_again(stub: AirflowStub, airflow: Airflow) -> None:
    await airflow.start(DAG, "kai__1:2+3", {"a": 1}, "note")
    with pytest.raises(AirflowError) as caught:
        await airflow.start(DAG, "kai__1:2+3", {"a": 2}, "note")
    assert (caught.value.status, caught.value.is_passing) == (409, False)
    found = await airflow.run(DAG, "kai__1:2+3")
    assert found is not None
    assert (found.dag_id, found.run_id, found.state, found.conf, found.end) == (
        DAG,
        "kai__1:2+3",
        "running",
        {"a": 1},
        None,
    )
    assert await airflow.run(DAG, "kai__2") is None
    assert stub.logins == 1


async def test_what_airflow_knows_of_a_dag(stub: AirflowStub, airflow: Airflow) -> None:
    tags = {"product": "shop"}
    assert await airflow.dag(DAG) == Dag(paused=False, broken=False, tags=tags)
    stub.dags[DAG] = StubDag(is_paused=True, has_import_errors=True)
    assert await airflow.dag(DAG) == Dag(paused=True, broken=True, tags=tags)
    stub.dags[DAG] = StubDag(is_stale=True)
    assert await airflow.dag(DAG) is None
    assert await airflow.dag("shop.other") is None


async def test_runs_that_ended_come_in_the_order_of_their_end_over_all_pages(
    stub: AirflowStub, airflow: Airflow
) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(250):
        end = begin + timedelta(seconds=(n * 37) % 250)
        stub.add(f"kai__{n}", CONF, state="success" if n % 2 else "failed", end=end)
    stub.add("kai__running", CONF)
    stub.add("manual__1", CONF, state="success", end=begin)
    found = [run async for run in airflow.ended("kai__", begin.isoformat())]
    assert len({run.run_id for run in found}) == len(found) == 250
    ends = [run.end for run in found]
    assert ends == sorted(ends, key=str)
    later = [run async for run in airflow.ended("kai__", (begin + timedelta(seconds=200)).isoformat())]
    assert len(later) == 50


async def test_states_of_more_tasks_than_a_page_holds_are_all_found(stub: AirflowStub, airflow: Airflow) -> None:
    run = stub.add("kai__1", CONF, tasks={f"task-{n}": "success" for n in range(230)})
    found = await airflow.run(DAG, "kai__1")
    assert found is not None
    assert await airflow.states(found) == run.tasks
    assert await airflow.state(DAG, "kai__1", "task-229") == "success"
    assert await airflow.state(DAG, "kai__1", "other") is None


async def test_what_a_task_left_is_read_as_what_it_means(stub: AirflowStub, airflow: Airflow) -> None:
    stub.add("kai__1", CONF, xcoms={("out", "manifest"): {"a": [1]}})
    found = await airflow.run(DAG, "kai__1")
    assert found is not None
    assert await airflow.xcom(found, "out", "manifest") == {"a": [1]}
    assert await airflow.xcom(found, "out", "other") is None


async def test_queued_and_oldest_runs_are_counted_and_found(stub: AirflowStub, airflow: Airflow) -> None:
    assert await airflow.oldest(DAG) is None
    old = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(3):
        stub.add(f"any__{n}", None, state="queued", run_after=old - timedelta(days=n))
    stub.add("kai__running", CONF)
    assert await airflow.queued(DAG) == 3
    oldest = await airflow.oldest(DAG)
    assert oldest is not None
    assert (oldest.run_id, oldest.conf) == ("any__2", {})
    assert [run.run_id async for run in airflow.runs(DAG, "any__")] == ["any__0", "any__1", "any__2"]


async def test_a_token_that_has_expired_is_made_anew_once_for_all_who_notice(
    stub: AirflowStub, airflow: Airflow
) -> None:
    await airflow.dag(DAG)
    stub.expire_tokens()
    await asyncio.gather(*(airflow.dag(DAG) for _ in range(30)))
    assert stub.logins == 2


async def test_a_token_that_another_key_has_signed_is_made_anew(stub: AirflowStub, airflow: Airflow) -> None:
    """An API server that was started with another key says 403, not 401."""
    await airflow.dag(DAG)
    stub.change_key()
    assert await airflow.dag(DAG) is not None
    assert stub.logins == 2


async def test_what_the_user_may_not_do_is_an_error_with_a_remedy_and_may_pass(
    stub: AirflowStub, airflow: Airflow
) -> None:
    stub.fault = answering(403, '{"detail": "Forbidden"}')
    with pytest.raises(AirflowError, match=r"403.*Remedy: let the user of KAI_AIRFLOW_USER") as caught:
        await airflow.dag(DAG)
    assert caught.value.is_passing
    assert stub.logins == 1


async def test_wrong_credentials_are_an_error_with_a_remedy(stub: AirflowStub) -> None:
    async with reaching(AirflowSite(stub.url, "bridge", "wrong")) as other:
        with pytest.raises(AirflowError, match=r"401.*Remedy: set KAI_AIRFLOW_USER and KAI_AIRFLOW_PASSWORD") as caught:
            await other.dag(DAG)
    assert caught.value.is_passing


async def test_a_password_that_airflow_repeats_is_not_in_the_error(stub: AirflowStub, airflow: Airflow) -> None:
    async def fault(request: web.Request, act: Act) -> web.Response:
        said = {"detail": [{"type": "model_type", "loc": ["body"], "input": await request.json()}]}
        return web.json_response(said, status=422)

    stub.login_fault = fault
    with pytest.raises(AirflowError) as caught:
        await airflow.dag(DAG)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "passes"), [(500, True), (503, True), (429, True), (408, True), (400, False), (422, False)]
)
async def test_an_outage_may_pass_and_a_refusal_does_not(
    stub: AirflowStub, airflow: Airflow, status: int, passes: bool
) -> None:
    stub.fault = answering(status, "the reason")
    with pytest.raises(AirflowError, match="the reason") as caught:
        await airflow.start(DAG, "kai__1", {}, "")
    assert (caught.value.status, caught.value.is_passing) == (status, passes)


async def test_no_answer_is_an_error_that_may_pass(
    stub: AirflowStub, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.fault = dropping_after("GET")
    with pytest.raises(AirflowError, match="no answer") as caught:
        await airflow.dag(DAG)
    assert (caught.value.status, caught.value.is_passing) == (0, True)
    monkeypatch.setattr(client, "ANSWER", 0.2)
    stub.fault = hanging()
    async with reaching(stub.site) as impatient:
        with pytest.raises(AirflowError, match="no answer"):
            await impatient.dag(DAG)
    async with reaching(AirflowSite("http://127.0.0.1:9", "", "")) as nobody:
        with pytest.raises(AirflowError, match="no answer"):
            await nobody.dag(DAG)


@pytest.mark.parametrize("text", ["<html>Welcome</html>", "[]", '"yes"', "{}"])
async def test_an_answer_that_is_not_airflows_is_an_error_that_may_pass(
    stub: AirflowStub, airflow: Airflow, text: str
) -> None:
    """A proxy in front of it may say anything with status 200."""
    stub.fault = answering(200, text)
    for ask in (
        lambda: airflow.dag(DAG),
        lambda: airflow.run(DAG, "kai__1"),
        lambda: airflow.queued(DAG),
        lambda: airflow.oldest(DAG),
        lambda: airflow.start(DAG, "kai__1", {}, ""),
    ):
        with pytest.raises(AirflowError) as caught:
            await ask()
        assert caught.value.is_passing


async def test_runs_that_are_cleared_while_pages_are_read_hide_no_others(stub: AirflowStub, airflow: Airflow) -> None:
    """Pages by their number would move up."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [stub.add(f"kai__{n}", CONF, state="success", end=begin + timedelta(seconds=n // 2)) for n in range(350)]
    found = []
    async for run in airflow.ended("kai__", begin.isoformat()):
        found.append(run.run_id)
        if len(found) == 50:
            for cleared in runs[10:40]:
                stub.clear(cleared)
    assert found == [run.run_id for run in runs]


def test_the_stub_answers_with_the_fields_of_airflow() -> None:
    from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse
    from airflow.api_fastapi.core_api.datamodels.dags import DAGResponse

    assert set(StubRun(1, DAG, "kai__1", {}, None).as_json()) == set(DAGRunResponse.model_fields)
    assert set(DAG_FIELDS) == set(DAGResponse.model_fields)
    assert set(StubDag().as_json(DAG)) == set(DAG_FIELDS)


async def test_unpaused_dags_of_a_tag_are_told_page_by_page_and_whether_they_are_stale(
    stub: AirflowStub, airflow: Airflow
) -> None:
    stub.dags = {f"shop.w{number:03}": StubDag() for number in range(230)}
    stub.dags |= {"shop.paused": StubDag(is_paused=True), "shop.stale": StubDag(is_stale=True)}
    stub.dags["other"] = StubDag(tags=("mine",))
    found = await airflow.unpaused("kai")
    assert len(found) == 231
    assert (found["shop.w229"], found["shop.stale"]) == (True, False)
    assert stub.asked.count(("GET", "/api/v2/dags")) == 3


async def test_dags_of_files_with_errors_are_told_though_airflow_finds_them_no_more(
    stub: AirflowStub, airflow: Airflow
) -> None:
    stub.dags["shop.broken"] = StubDag(is_stale=True, has_import_errors=True)
    stub.dags["shop.stale"] = StubDag(is_stale=True)
    assert list(await airflow.broken("kai")) == ["shop.broken"]
    assert list(await airflow.dags("kai")) == [DAG]


async def test_whether_there_are_dags_of_a_tag(stub: AirflowStub, airflow: Airflow) -> None:
    stub.dag.is_paused = True
    assert await airflow.has_dags("product:shop")
    assert not await airflow.has_dags("product:other")
    stub.dag.is_stale = True
    assert not await airflow.has_dags("product:shop")
