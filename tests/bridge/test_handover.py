"""Which long-lived processes there should be, and when others may go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kai_airflow.bridge.live import handover
from kai_airflow.bridge.live.handover import Known, Left, Place, Verdict, Wanted
from kai_airflow.kube import live
from kai_airflow.plan.names import DagId, Stream
from tests.streaming import process_of, streaming

WORKFLOW = streaming()
SITE = live.site_label("http://airflow")
DAG, OLD, NEW = "shop.train", Stream("shop_v1_0_0_train"), Stream("shop_v2_0_0_train")
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def left(**more: Any) -> Left:
    return replace(Left("n", DAG, OLD, "task", runs=True, is_called=False), **more)


HERE = Known(streams={DAG: NEW}, active=frozenset({DAG}), ready=frozenset({DAG}))


@pytest.mark.parametrize(
    ("one", "known", "verdict"),
    [
        # The DAG is paused, deleted, or Airflow finds it no more.
        (left(), Known(), Verdict.GOES),
        # Its triggers go first: who called them has a moment for the answer.
        (left(type="trigger"), Known(triggers=frozenset({OLD})), Verdict.GOES),
        (left(type="exit"), Known(triggers=frozenset({OLD})), Verdict.STAYS),
        (left(type="exit"), Known(triggers=frozenset({NEW})), Verdict.GOES),
        # The DAG runs, and nobody finds its KRT: a folder that isn't mounted looks like one that is empty.
        (left(), Known(active=frozenset({DAG})), Verdict.STAYS),
        # A process that the same version doesn't have any more.
        (left(stream=NEW), replace(HERE, ready=frozenset()), Verdict.GOES),
        # A Secret or Service without a Deployment.
        (left(runs=False), replace(HERE, ready=frozenset()), Verdict.GOES),
        # Another version's, while the new one isn't ready.
        (left(), replace(HERE, ready=frozenset()), Verdict.STAYS),
        (left(type="trigger"), replace(HERE, ready=frozenset()), Verdict.STAYS),
        # Triggers first; those that people call when nobody is led to them any more, and with some time.
        (left(type="trigger"), HERE, Verdict.GOES),
        (left(type="trigger", is_called=True), replace(HERE, routed=frozenset({"n"})), Verdict.STAYS),
        (left(type="trigger", is_called=True), HERE, Verdict.GOES_IN_TIME),
        # Tasks and exits when the triggers are gone, and what they sent is done.
        (left(), replace(HERE, triggers=frozenset({OLD})), Verdict.STAYS),
        (left(), replace(HERE, triggers=frozenset({NEW})), Verdict.GOES_WHEN_IDLE),
        (left(type="exit"), HERE, Verdict.GOES_WHEN_IDLE),
    ],
)
def test_what_becomes_of_a_process_that_no_krt_names(one: Left, known: Known, verdict: Verdict) -> None:
    assert handover.verdict(one, known) is verdict


def test_the_processes_of_unpaused_dags_are_wanted_in_the_namespace_of_their_workflow() -> None:
    other = replace(WORKFLOW, dag_id=DagId("other"), namespace="own")
    places = handover.wanted([WORKFLOW, other], {"shop.train", "other"}, "default")
    assert {place.namespace: one.workflow.dag_id for place, one in places.items()} == {
        "default": "shop.train",
        "own": "other",
    }
    assert [place.name for place in places][:3] == [
        "shop-v1-0-0-train-trigger",
        "shop-v1-0-0-train-worker",
        "shop-v1-0-0-train-out",
    ]
    assert handover.wanted([WORKFLOW], {"other"}, "default") == {}


def test_what_is_left_is_read_back_from_its_own_objects() -> None:
    trigger = process_of(WORKFLOW, "trigger")
    made = live.deployment(WORKFLOW, trigger, SITE, "1")
    secret = live.config_secret(WORKFLOW, trigger, SITE, {}, "1")
    assert Left.of(secret, made) == Left(
        made["metadata"]["name"], "shop.train", OLD, "trigger", runs=True, is_called=False
    )
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 1}]
    assert Left.of(made, made).is_called
    assert not Left.of(secret, None).runs
    assert Left.of({"metadata": {"name": "n"}}, None) == Left("n", "", Stream(""), "", runs=False, is_called=False)


def test_a_dag_is_ready_when_all_of_its_processes_are_and_one_without_any_always_is() -> None:
    places = handover.wanted([WORKFLOW], {DAG}, "default")
    deployments = {place: {"metadata": {"generation": 1}, "status": READY} for place in places}
    assert handover.ready_dags([DAG, "batch"], places, deployments) == {DAG, "batch"}
    deployments.popitem()
    assert handover.ready_dags([DAG, "batch"], places, deployments) == {"batch"}
    assert isinstance(next(iter(places.values())), Wanted)
    assert isinstance(next(iter(places)), Place)


def ingress(*paths: tuple[str, str], host: str | None = None) -> dict[str, Any]:
    listed = [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"name": "trigger"}}}}
        for path, service in paths
    ]
    return {
        "metadata": {"name": "shop"},
        "spec": {"rules": [{**({"host": host} if host else {}), "http": {"paths": listed}}]},
    }


def test_calls_go_on_to_the_old_service_until_the_new_one_is_ready() -> None:
    found = ingress(("/a", "old-a"), ("/b", "old-b"), ("/gone", "old-gone"))
    wanted = ingress(("/a", "new-a"), ("/b", "new-b"), ("/more", "new-more"))
    assert handover.routed(wanted, found, {"new-a"}) == ingress(("/a", "new-a"), ("/b", "old-b"), ("/more", "new-more"))
    assert handover.routed(wanted, found, {"new-a", "new-b"}) == wanted
    assert handover.routed_to([found, wanted]) == {
        *("old-a", "old-b", "old-gone"),
        *("new-a", "new-b", "new-more"),
    }


def test_a_path_of_another_host_is_another_path() -> None:
    wanted = ingress(("/", "new"), host="a.example.com")
    assert handover.routed(wanted, ingress(("/", "old"), host="b.example.com"), ()) == wanted
