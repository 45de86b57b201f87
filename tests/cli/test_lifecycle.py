"""``kai-airflow start``, ``stop``, ``publish``, ``unpublish`` and ``status``: an Airflow, and a real Kubernetes API."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from kai_airflow.bridge.cluster.client import DEPLOYMENTS, INGRESSES, LEASES, PODS
from kai_airflow.bridge.live import keeping
from kai_airflow.bridge.site import Site
from kai_airflow.bridge.survey import Survey
from kai_airflow.kube import live
from kai_airflow.kube.found import works
from tests.bridge.clusters import NAMESPACE, until
from tests.bridge.conftest import local, objects
from tests.cli.conftest import RESOURCES, krt

if TYPE_CHECKING:
    from pathlib import Path

    from kai_airflow.bridge.cluster.client import Kubernetes
    from tests.bridge.clusters import LocalKubernetes
    from tests.cli.conftest import Desk, Ran

__all__ = ["local", "objects"]

DAG = "shop.train"
# A trigger that listens on the port that the local Kubernetes gives it in place of the one of the KRT.
PORT_SERVER = """
import os, signal, socket
server = socket.create_server(("127.0.0.1", int(os.environ["KAI_AIRFLOW_PORT_9000"])))
signal.pause()
"""


@dataclass
class Shop:
    """The product shop, whose trigger lives in a cluster; the test does what a bridge would."""

    desk: Desk
    objects: Kubernetes
    images: Path

    async def run(self, *words: str) -> Ran:
        return await self.desk.run(*words)

    @property
    def label(self) -> str:
        return live.site_label(self.desk.airflow.url)

    async def deploy(self, *command: str, dag_id: str = DAG) -> None:
        """Make the trigger's Deployment, with this program as its image's."""
        workflow = Survey([self.desk.dags]).look()[dag_id]
        trigger = workflow.triggers[0]
        self.images.write_text(json.dumps({trigger.image: list(command)}))
        data = live.config_data({})
        await self.objects.apply(live.config_secret(workflow, trigger, self.label, data, "1"), NAMESPACE)
        await self.objects.apply(live.deployment(workflow, trigger, self.label, "1"), NAMESPACE)
        if live.has_service(trigger):
            await self.objects.apply(live.service(workflow, trigger, self.label), NAMESPACE)

    async def undeploy(self) -> None:
        for found in (await self.objects.list(DEPLOYMENTS, NAMESPACE)).items:
            await self.objects.delete(DEPLOYMENTS, found)

    async def ready(self) -> None:
        async def all_work() -> bool:
            pods = (await self.objects.list(PODS, NAMESPACE)).items
            found = (await self.objects.list(DEPLOYMENTS, NAMESPACE)).items
            return bool(found) and all(works(one, pods) for one in found)

        await until(all_work)

    async def status(self) -> dict[str, Any]:
        ran = await self.run("status", "shop", "--json")
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def pause(self, *, paused: bool) -> None:
        self.desk.airflow.dags[DAG]["is_paused"] = paused


@pytest.fixture
async def shop(desk: Desk, local: LocalKubernetes, objects: Kubernetes) -> Shop:
    site = desk.home / "site.json"
    site.write_text(replace(Site.from_json(site.read_bytes()), cluster=local.cluster).to_json())
    made = Shop(desk, objects, local.home / "images.yaml")
    made.pause(paused=True)
    return made


def networked(version: str = "v1.0.0", more: str = "") -> str:
    """The product with a trigger that people call."""
    trigger = f"{{name: start, type: trigger, image: 'test/start:v1', {RESOURCES}}}"
    called = trigger[:-1] + ", networking: {targetPort: 9000, destinationPort: 80}}"
    return more + krt(version=version).replace(trigger, called)


async def test_start_unpauses_waits_for_the_processes_and_tells_when_each_is_ready(shop: Shop) -> None:
    running = await shop.desk.start("start", "shop", "--comment", "the sale begins")
    event, dag_id, note = await shop.desk.airflow.actions.get()
    assert (event, dag_id) == ("patch_dag", DAG)
    assert note == {"kai_action": "start", "comment": "the sale begins", "author": getpass.getuser()}
    await shop.deploy("sleep", "1000")
    ran = await running.ended()
    assert (ran.code, ran.out) == (0, "shop v1.0.0: STARTED\n")
    assert "train: start ready (" in ran.err


async def test_a_second_start_says_that_it_is_started_and_does_nothing(shop: Shop) -> None:
    shop.pause(paused=False)
    await shop.deploy("sleep", "1000")
    await shop.ready()
    ran = await shop.run("start", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "shop v1.0.0: STARTED\n", "it was started already\n")
    assert shop.desk.airflow.actions.empty()


async def test_a_process_that_cannot_start_ends_the_waiting_with_its_last_words(shop: Shop) -> None:
    await shop.deploy("sh", "-c", "echo 'no such table: orders'; exit 3")
    ran = await shop.run("start", "shop")
    assert ran.code == 2
    assert "shop v1.0.0 can't start: train: start: its process ended with exit code 3" in ran.err
    assert "no such table: orders" in ran.err


async def test_a_process_that_is_well_after_a_first_failure_is_started(shop: Shop) -> None:
    ready = shop.images.parent / "ready"
    running = await shop.desk.start("start", "shop")
    await shop.desk.airflow.actions.get()
    await shop.deploy("sh", "-c", f"test -f {ready} || exit 3; sleep 1000")

    async def is_failing() -> bool:
        return bool((await shop.status())["state"] == "ERROR")

    await until(is_failing)
    ready.touch()
    ran = await running.ended()
    assert (ran.code, ran.out) == (0, "shop v1.0.0: STARTED\n")


async def test_what_keeps_the_bridge_from_it_is_told(shop: Shop) -> None:
    told = {keeping.TROUBLE: json.dumps({NAMESPACE: "Kubernetes: cannot list secrets: 403 User x cannot"})}
    metadata = {"name": live.lease_name(shop.label), "annotations": told}
    lease = {"apiVersion": LEASES.api, "kind": LEASES.name, "metadata": metadata, "spec": {}}
    await shop.objects.create(LEASES, NAMESPACE, lease)
    ran = await shop.run("start", "shop")
    assert ran.code == 2
    assert "shop v1.0.0 can't start: train: start: Kubernetes: cannot list secrets: 403" in ran.err


async def test_what_is_not_started_in_time_says_what_it_waits_for(shop: Shop) -> None:
    ran = await shop.run("start", "shop", "--timeout", "5")
    assert ran.code == 2
    assert "isn't started within 5 s: train: start: no bridge has made its Deployment yet. Remedy: " in ran.err


@pytest.mark.parametrize("given", ["-1", "nan", "inf", "soon"])
async def test_a_time_that_is_none_is_refused(shop: Shop, given: str) -> None:
    ran = await shop.run("start", "shop", "--timeout", given)
    assert ran.code == 2
    assert f"argument --timeout: {given!r} is no number of seconds: 0 or more" in ran.err


async def test_stop_pauses_and_waits_until_nothing_is_left(shop: Shop) -> None:
    shop.pause(paused=False)
    await shop.deploy("sleep", "1000")
    await shop.ready()
    running = await shop.desk.start("stop", "shop")
    assert (await shop.desk.airflow.actions.get())[2]["kai_action"] == "stop"
    await shop.undeploy()
    ran = await running.ended()
    assert (ran.code, ran.out) == (0, "shop v1.0.0: STOPPED\n")
    assert not (await shop.objects.list(PODS, NAMESPACE, live.selector(shop.label))).items
    assert (await shop.run("stop", "shop")).code == 0
    assert shop.desk.airflow.actions.empty()


async def test_stop_that_does_not_end_in_time_says_so(shop: Shop) -> None:
    await shop.deploy("sleep", "1000")
    ran = await shop.run("stop", "shop", "--timeout", "0.5")
    assert ran.code == 2
    assert "shop isn't stopped within 0.5 s. Remedy: " in ran.err


async def test_what_is_published_is_not_stopped(shop: Shop) -> None:
    shop.desk.write(networked())
    shop.pause(paused=False)
    await shop.deploy("python", "-c", PORT_SERVER)
    await shop.ready()
    assert (await shop.run("publish", "shop")).code == 0
    ran = await shop.run("stop", "shop")
    assert ran.code == 2
    assert "shop v1.0.0 is published. Remedy: kai-airflow unpublish shop." in ran.err
    assert not shop.desk.airflow.dags[DAG]["is_paused"]


async def test_publish_prints_urls_and_unpublish_takes_them_away(shop: Shop) -> None:
    shop.desk.write(networked())
    shop.pause(paused=False)
    await shop.deploy("python", "-c", PORT_SERVER)
    await shop.ready()
    ran = await shop.run("publish", "shop", "--comment", "go")
    assert ran.code == 0, ran.err
    workflow, process, url = ran.out.split()
    assert (workflow, process) == ("train", "start")
    assert url.startswith("http://localhost:")
    assert url.endswith("/shop/train-start")
    event, dag_id, note = shop.desk.airflow.actions.get_nowait()
    assert (event, dag_id, note["kai_action"], note["comment"]) == ("patch_dags", DAG, "publish", "go")
    found = await shop.status()
    assert found["state"] == "PUBLISHED"
    assert found["published"] == [{"workflow": "train", "process": "start", "url": url}]

    again = await shop.run("publish", "shop")
    assert (again.code, again.out) == (0, ran.out)
    assert shop.desk.airflow.actions.empty()

    assert (await shop.run("unpublish", "shop", "--version", "v9.0.0")).out == "shop v9.0.0 isn't published\n"
    assert (await shop.run("unpublish", "shop")).out == "shop v1.0.0: unpublished\n"
    assert shop.desk.airflow.actions.get_nowait()[2]["kai_action"] == "unpublish"
    assert await shop.objects.get(INGRESSES, NAMESPACE, "shop") is None
    assert (await shop.run("unpublish", "shop")).out == "shop: nothing is published\n"
    assert (await shop.status())["state"] == "STARTED"


async def test_only_what_is_started_is_published(shop: Shop) -> None:
    shop.desk.write(networked())
    ran = await shop.run("publish", "shop")
    assert ran.code == 2
    assert "shop v1.0.0 is CREATED. Remedy: start it first, with `kai-airflow start shop --version v1.0.0`" in ran.err


async def test_of_several_versions_one_must_be_named(shop: Shop) -> None:
    side_by_side = "x-airflow: {product: shop, version_in_dag_id: true}\n"
    for version in ("v1.0.0", "v2.0.0"):
        shop.desk.write(networked(version, side_by_side), version.replace(".", "-"))
        shop.desk.airflow.add_dag(f"{DAG}.{version}")
    (shop.desk.dags / "shop" / "krt.yaml").unlink()
    ran = await shop.run("start", "shop")
    assert ran.code == 2
    assert "there are 2 versions. Remedy: name one with --version: v1.0.0 or v2.0.0." in ran.err
    shop.images.write_text("{}")
    await shop.deploy("python", "-c", PORT_SERVER, dag_id=f"{DAG}.v2.0.0")
    ran = await shop.run("start", "shop", "--version", "v2.0.0")
    assert (ran.code, ran.out) == (0, "shop v2.0.0: STARTED\n"), ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "shpo"), "no product 'shpo' of a KRT below"),
        (("stop", "shop", "--version", "v9.0.0"), "no version 'v9.0.0'. Remedy: "),
        (("publish", "shop", "--comment", "x" * 1001), "--comment: 1001 characters. Remedy: write 1000 at most."),
        (("status", "--version", "v1.0.0"), "--version is of one product. Remedy: name the product, too."),
        (("unpublish", "shpo"), "Use shop"),
    ],
)
async def test_what_nobody_knows_is_said_with_what_to_do(shop: Shop, words: tuple[str, ...], said: str) -> None:
    ran = await shop.run(*words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


async def test_status_shows_products_workflows_and_processes(shop: Shop) -> None:
    assert (await shop.run("status")).out.splitlines()[0] == "shop v1.0.0: CREATED"
    shop.pause(paused=False)
    await shop.deploy("sleep", "1000")
    await shop.ready()
    ran = await shop.run("status", "shop")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows == [
        ["shop", "v1.0.0:", "STARTED"],
        ["type", "state", "ready", "waiting"],
        ["train", "training", "STARTED", "0"],
        ["start", "trigger", "STARTED", "1/1"],
    ]


async def test_status_of_an_error_is_1_and_names_the_cause(shop: Shop) -> None:
    shop.pause(paused=False)
    await shop.deploy("sh", "-c", "exit 3")
    await shop.run("start", "shop")
    ran = await shop.run("status")
    assert ran.code == 1
    assert ran.out.startswith("shop v1.0.0: ERROR\n")
    assert "\n      its process ended with exit code 3" in ran.out


async def test_who_may_not_see_the_audit_log_is_told_that_it_is_stopped(shop: Shop) -> None:
    shop.desk.airflow.shows_events = False
    assert (await shop.status())["state"] == "STOPPED"


async def test_a_cluster_out_of_reach_is_told_and_hides_nothing_else(shop: Shop, local: LocalKubernetes) -> None:
    shop.pause(paused=False)
    local.kill()
    ran = await shop.run("status")
    assert ran.code == 2
    assert "not all can be told: Kubernetes: " in ran.err
    assert ran.out.splitlines()[0] == "shop v1.0.0: unknown"
    assert "train" in ran.out


async def test_a_broken_file_is_told(shop: Shop) -> None:
    shop.desk.write("version: [", "broken")
    ran = await shop.run("status")
    assert ran.code == 2
    assert "broken/krt.yaml has errors, and is left out: kai-airflow validate " in ran.err
    assert "shop v1.0.0: CREATED" in ran.out


async def test_a_product_whose_file_is_broken_has_an_error_while_it_is_unpaused(shop: Shop) -> None:
    """As Airflow has it: its DAG is there as it was, and found no more."""
    shop.desk.write("version: [")
    shop.desk.airflow.dags[DAG] |= {"is_stale": True, "has_import_errors": True}
    assert (await shop.status())["state"] == "CREATED"
    shop.pause(paused=False)
    ran = await shop.run("status", "shop")
    assert ran.code == 1
    assert ran.out.startswith("shop v1.0.0: ERROR\n")
    assert f"its KRT file has errors: kai-airflow validate {shop.desk.dags}/shop/krt.yaml\n" in ran.out
    everything = await shop.run("status")
    assert (everything.code, everything.out) == (2, ran.out)
    assert "no product 'mart', but there are KRT files with errors" in (await shop.run("status", "mart")).err


async def test_a_file_that_was_removed_while_it_was_broken_is_no_products(shop: Shop) -> None:
    shop.desk.airflow.dags[DAG] |= {"is_stale": True, "has_import_errors": True}
    (shop.desk.dags / "shop" / "krt.yaml").unlink()
    shop.desk.write("version: [", "mart")
    assert "there is no KRT file without errors" in (await shop.run("status")).err
