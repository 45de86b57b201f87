"""Long-lived processes kept as their KRTs say, on the local Kubernetes API with real processes."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from kai_airflow.bridge.client import Dag
from kai_airflow.bridge.cluster.client import (
    AUTOSCALERS,
    DEPLOYMENTS,
    INGRESSES,
    LEASES,
    PODS,
    SECRETS,
    SERVICES,
    reaching,
)
from kai_airflow.bridge.lifecycle.status import Facts, product_status
from kai_airflow.bridge.lifecycle.version import objects as objects_of
from kai_airflow.bridge.live import causes, ends, keeper, keeping
from kai_airflow.bridge.live.handover import routed_to
from kai_airflow.bridge.site import Cluster
from kai_airflow.kube import live
from kai_airflow.kube.found import is_ready
from kai_airflow.kube.ingress import Publishing, ingress
from kai_airflow.kube.objects import GRACE_PERIOD_SECONDS
from tests.bridge.airflow_stub import answering
from tests.bridge.clusters import NAMESPACE, LocalKubernetes, gone, there, until
from tests.bridge.keeping import Kept, images, krt_text
from tests.bridge.parts import at_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kai_airflow.bridge.client import Airflow
    from kai_airflow.bridge.cluster.client import Kubernetes
    from kai_airflow.kube.objects import Manifest
    from tests.bridge.airflow_stub import AirflowStub

V1 = {f"shop-v1-0-0-train-{name}" for name in ("rest", "poll", "work", "out")}
V2 = {name.replace("v1", "v2") for name in V1}
WORK, REST = "shop-v1-0-0-train-work", "shop-v1-0-0-train-rest"


@pytest.fixture
def kept(
    tmp_path: Path,
    stub: AirflowStub,
    airflow: Airflow,
    local: LocalKubernetes,
    objects: Kubernetes,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    monkeypatch.setattr(keeping, "POLL", 0.1)
    monkeypatch.setattr(keeping, "SHARE", 0)
    monkeypatch.setattr(keeping, "AGAIN", 0.1)
    monkeypatch.setattr(keeper, "GRACE", 1.0)
    monkeypatch.setattr(keeper, "QUIET", 0.3)
    monkeypatch.setattr(keeper, "STEADY", 0.5)
    return Kept(tmp_path, stub, airflow, local, objects)


async def test_the_processes_of_an_unpaused_dag_are_there_with_all_that_belongs_to_them(kept: Kept) -> None:
    kept.write(krt_text(replicas=2))
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        assert await kept.names(DEPLOYMENTS) == await kept.names(SECRETS) == V1
        assert await kept.names(SERVICES) == {REST}
        assert await kept.names(AUTOSCALERS) == {WORK}
        assert await kept.names(INGRESSES) == set()
        assert set(kept.nats.prepared) == V1
        # Paused, all of it goes; unpaused, it is there again.
        kept.stub.dag.is_paused = True
        for kind in (DEPLOYMENTS, SERVICES, SECRETS, AUTOSCALERS, PODS):
            await kept.until_names(kind, set())
        kept.stub.dag.is_paused = False
        await kept.until_names(DEPLOYMENTS, V1)


async def test_of_a_paused_dag_tasks_and_exits_stay_until_its_triggers_have_ended(kept: Kept) -> None:
    """Who has called a trigger gets his answer."""
    kept.write(krt_text(trigger="stubborn").replace("networking: {targetPort: 9000, destinationPort: 80}, ", ""))
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        kept.stub.dag.is_paused = True
        await kept.until_names(DEPLOYMENTS, {WORK, "shop-v1-0-0-train-out"})
        pods = (await kept.objects.list(PODS, NAMESPACE, live.selector(kept.label))).items
        ending = {one["metadata"]["labels"]["process"]: "deletionTimestamp" in one["metadata"] for one in pods}
        assert ending["rest"]
        assert not ending["work"]
        await kept.until_names(DEPLOYMENTS, set())


async def test_what_a_hand_changes_or_deletes_is_corrected_and_what_it_adds_is_left(kept: Kept) -> None:
    kept.write(krt_text())
    objects = kept.objects
    async with kept.going_on():
        before = await kept.until_ready(DEPLOYMENTS, REST)
        await objects.delete(DEPLOYMENTS, before)
        await objects.delete(SERVICES, await there(objects, SERVICES, REST))
        async with asyncio.timeout(10):
            after = await kept.until_ready(DEPLOYMENTS, REST)
            assert after["metadata"]["uid"] != before["metadata"]["uid"]
            await there(objects, SERVICES, REST)
        work = await kept.until_ready(DEPLOYMENTS, WORK)
        work["spec"]["template"]["spec"]["containers"][0]["image"] = "another"
        work["spec"]["replicas"] = 0
        work["metadata"]["labels"] |= {"process": "another", "team": "ml"}
        await objects.replace(DEPLOYMENTS, NAMESPACE, work)
        secret = await there(objects, SECRETS, WORK)
        await objects.replace(SECRETS, NAMESPACE, {**secret, "data": {"app.yaml": "YQ=="}})

        async def is_corrected() -> bool:
            found = await there(objects, DEPLOYMENTS, WORK)
            config = await there(objects, SECRETS, WORK)
            image = found["spec"]["template"]["spec"]["containers"][0]["image"]
            labels = found["metadata"]["labels"]
            assert labels["team"] == "ml"
            right = (image, found["spec"]["replicas"], labels["process"]) == ("lives", 1, "work")
            return right and config["data"] == secret["data"]

        await until(is_corrected, 10)
        config_version = live.CONFIG_ANNOTATION
        found = await kept.until_ready(DEPLOYMENTS, WORK)
        template = found["spec"]["template"]["metadata"]["annotations"]
        assert template[config_version] == secret["metadata"]["annotations"][config_version]


async def test_where_nothing_changes_nothing_is_written(kept: Kept) -> None:
    """Not even by a bridge that starts anew; and its pods go on."""
    kept.write(krt_text())

    async def states() -> dict[str, str]:
        return {
            f"{kind.plural}/{name}": (await there(kept.objects, kind, name))["metadata"]["resourceVersion"]
            for kind in (SECRETS, SERVICES, DEPLOYMENTS, PODS)
            for name in await kept.names(kind)
        }

    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await settled(kept)
        before = await states()
        assert len(before) == 4 + 1 + 4 + 4
    async with kept.going_on():
        await settled(kept)
        after = await states()
    del before[f"services/{REST}"], after[f"services/{REST}"]  # made anew by the test itself
    assert after == before


async def until_asked(kept: Kept, times: int) -> None:
    """Airflow has been asked so many times more."""
    count = len(kept.stub.asked) + times
    await kept.stub.until(lambda: len(kept.stub.asked) >= count)


async def settled(kept: Kept) -> None:
    """The bridge has looked at all that has happened: an object that it has to correct is right again."""
    made = await there(kept.objects, SERVICES, REST)
    await kept.objects.delete(SERVICES, made)
    found = await there(kept.objects, SERVICES, REST)
    assert found["metadata"]["uid"] != made["metadata"]["uid"]


async def test_another_configuration_is_another_secret_and_the_pods_are_made_anew(kept: Kept) -> None:
    kept.write(krt_text(config="a: '1'"))
    async with kept.going_on():
        before = await kept.until_ready(DEPLOYMENTS, WORK)
        pods = {name for name in await kept.names(PODS) if name.startswith(WORK)}
        kept.write(krt_text(config="a: '2'"))

        async def is_rolled_over() -> bool:
            now = {name for name in await kept.names(PODS) if name.startswith(WORK)}
            return bool(now) and not now & pods

        await until(is_rolled_over)
        after = await kept.until_ready(DEPLOYMENTS, WORK)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        others = {await version_of(kept, name) for name in V1 - {WORK}}
        assert await version_of(kept, WORK) not in others


async def version_of(kept: Kept, name: str) -> str:
    secret = await there(kept.objects, SECRETS, name)
    return str(secret["metadata"]["annotations"][live.CONFIG_ANNOTATION])


async def test_an_object_that_is_not_ours_is_never_touched_and_named_in_the_lease(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": WORK}, "data": {"a": "YQ=="}}
    made = await kept.objects.create(SECRETS, NAMESPACE, foreign)
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1 - {WORK}:
            await kept.until_ready(DEPLOYMENTS, name)

        async def is_told() -> str | None:
            lease = await there(kept.objects, LEASES, live.lease_name(kept.label))
            return keeping.troubles(lease).get(f"{NAMESPACE}/{WORK}")

        told = await until(is_told)
        assert f"Secret {NAMESPACE}/{WORK} is there already" in told
        assert await kept.objects.get(DEPLOYMENTS, NAMESPACE, WORK) is None
        assert await there(kept.objects, SECRETS, WORK) == made
        await kept.objects.delete(SECRETS, made)
        await kept.until_ready(DEPLOYMENTS, WORK)

        async def is_told_no_more() -> bool:
            return not keeping.troubles(await there(kept.objects, LEASES, live.lease_name(kept.label)))

        await until(is_told_no_more)
        kept.stub.dag.is_paused = True
        await kept.until_names(SECRETS, set())
    assert sum("is there already" in line for line in caplog.messages) == 1


async def test_where_airflow_or_the_files_cannot_be_read_everything_stays(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        await kept.until_names(DEPLOYMENTS, V1)
        # Airflow is away, also for a bridge that starts meanwhile; by hand deleted is made again all the same.
        kept.stub.fault = answering(503)
        await until_asked(kept, 5)
        await kept.objects.delete(DEPLOYMENTS, await there(kept.objects, DEPLOYMENTS, WORK))
        await kept.until_ready(DEPLOYMENTS, WORK)
        # The folder is empty, as one that isn't mounted; Airflow knows the DAG.
        kept.stub.fault = None
        kept.file.unlink()
        await until_asked(kept, 10)
        assert await kept.names(DEPLOYMENTS) == V1
        # Airflow finds it no more, either.
        kept.stub.dag.is_stale = True
        await kept.until_names(DEPLOYMENTS, set())
        # A file without a DAG that runs makes nothing.
        kept.stub.dags.clear()
        await until_asked(kept, 3)  # it isn't what one answer alone lacks
        kept.write(krt_text())
        await until_asked(kept, 5)
        assert await kept.names(DEPLOYMENTS) == set()


async def test_a_file_that_is_broken_stops_nothing_even_when_airflow_takes_its_dag_for_stale(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        await kept.until_names(DEPLOYMENTS, V1)
        kept.write("version: [")
        kept.stub.dag.is_stale = kept.stub.dag.has_import_errors = True
        await until_asked(kept, 10)
        assert await kept.names(DEPLOYMENTS) == V1


async def test_a_dag_that_one_answer_lacks_is_not_taken_for_paused(kept: Kept) -> None:
    """Airflow's pages move while they are read."""
    kept.write(krt_text())
    async with kept.going_on():
        await kept.until_names(DEPLOYMENTS, V1)
        kept.stub.fault = answering(200, '{"dags": [], "total_entries": 0}', times=1)
        await until_asked(kept, 10)
        uids = {(await there(kept.objects, DEPLOYMENTS, name))["metadata"]["uid"] for name in V1}
        assert len(uids) == 4
        assert "deletionTimestamp" not in str(await kept.objects.list(DEPLOYMENTS, NAMESPACE))


# A new version.


async def test_a_new_version_takes_over_when_it_is_ready_and_the_old_one_finishes_what_it_has(kept: Kept) -> None:
    old = "shop_v1_0_0_train"
    kept.write(krt_text())
    kept.nats.busy.add(old)
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        # Not ready: the new task's image can't be had. The old version stays, whole.
        kept.write(krt_text("v2.0.0", task="nowhere"))
        for name in V2 - {"shop-v2-0-0-train-work"}:
            await kept.until_ready(DEPLOYMENTS, name)
        await until_asked(kept, 10)
        assert await kept.names(DEPLOYMENTS) == V1 | V2
        # Ready: its triggers go; what they sent is still being worked on.
        kept.write(krt_text("v2.0.0"))
        await kept.until_names(DEPLOYMENTS, V2 | {WORK, "shop-v1-0-0-train-out"})
        await until_asked(kept, 10)
        assert await kept.names(DEPLOYMENTS) == V2 | {WORK, "shop-v1-0-0-train-out"}
    async with kept.going_on():  # another bridge goes on with it
        await until_asked(kept, 10)
        assert await kept.names(DEPLOYMENTS) == V2 | {WORK, "shop-v1-0-0-train-out"}
        kept.nats.busy.clear()
        for kind in (DEPLOYMENTS, SECRETS):
            await kept.until_names(kind, V2)
        await kept.until_names(SERVICES, {"shop-v2-0-0-train-rest"})


async def test_triggers_that_people_call_have_time_to_answer_and_others_go_at_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "GRACE", 5.0)
    kept.nats.busy.add("shop_v1_0_0_train")
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        kept.write(krt_text("v2.0.0"))
        await gone(kept.objects, DEPLOYMENTS, "shop-v1-0-0-train-poll")
        began = asyncio.get_running_loop().time()
        assert REST in await kept.names(DEPLOYMENTS)
        await gone(kept.objects, DEPLOYMENTS, REST)
        assert asyncio.get_running_loop().time() - began > 3


async def publish(kept: Kept) -> Manifest:
    """As `kai-airflow publish` does."""
    manifest = ingress(kept.keeping().workflows().values(), kept.label, Publishing())
    assert manifest is not None
    return await kept.objects.apply(manifest, NAMESPACE)


async def backends(kept: Kept) -> set[str]:
    return set(routed_to([await there(kept.objects, INGRESSES, "shop")]))


async def test_what_is_published_follows_the_version_once_it_is_ready_and_goes_with_the_product(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await publish(kept)
        kept.write(krt_text("v2.0.0", trigger="deaf"))
        await kept.until_ready(DEPLOYMENTS, "shop-v2-0-0-train-work")
        await until_asked(kept, 10)
        assert await backends(kept) == {REST}
        assert REST in await kept.names(DEPLOYMENTS) & await kept.names(SERVICES)
        kept.write(krt_text("v2.0.0"))
        await kept.until_names(SERVICES, {"shop-v2-0-0-train-rest"})
        found = await there(kept.objects, INGRESSES, "shop")
        assert await backends(kept) == {"shop-v2-0-0-train-rest"}
        assert found["metadata"]["labels"]["version"] == "v2.0.0"
        # By hand changed, it is corrected; by hand deleted, it is published no more.
        await kept.objects.replace(INGRESSES, NAMESPACE, {**found, "spec": {"rules": [{"host": "a.example.com"}]}})

        async def is_corrected() -> bool:
            return await backends(kept) == {"shop-v2-0-0-train-rest"}

        await until(is_corrected, 10)
        # Paused, it stays published; gone from the files and from Airflow, it isn't.
        kept.stub.dag.is_paused = True
        await kept.until_names(DEPLOYMENTS, set())
        assert await kept.names(INGRESSES) == {"shop"}
        kept.file.unlink()
        await until_asked(kept, 10)
        assert await kept.names(INGRESSES) == {"shop"}
        kept.stub.dags.clear()
        kept.write(krt_text())  # something to see
        kept.file.unlink()
        await kept.until_names(INGRESSES, set(), 20)


async def test_what_nobody_published_is_not_published(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        await kept.until_ready(DEPLOYMENTS, REST)
        await kept.objects.delete(INGRESSES, await publish(kept))
        await until_asked(kept, 10)
        assert await kept.names(INGRESSES) == set()


# Ends.


async def test_the_end_of_a_container_and_of_a_pod_is_told(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await until_asked(kept, 5)
        kept.nats.ended.clear()
        (pod,) = [name for name in await kept.names(PODS) if name.startswith(WORK)]
        await kept.objects.delete(PODS, await there(kept.objects, PODS, pod))

        async def is_told() -> bool:
            return bool(kept.nats.ended)

        await until(is_told)
        assert set(kept.nats.ended) == {"work"}
        await kept.until_ready(DEPLOYMENTS, WORK)
        kept.nats.ended.clear()
        kept.stub.dag.is_paused = True
        await kept.until_names(PODS, set())

        async def all_told() -> bool:
            return {"rest", "poll", "work", "out"} <= set(kept.nats.ended)

        await until(all_told)


async def test_a_pod_that_does_not_end_in_its_time_is_taken_for_lost(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a node that is lost, which no kubelet ends, and which is shown as running for good."""
    monkeypatch.setattr(ends, "LOST", 0.5 - GRACE_PERIOD_SECONDS)
    kept.write(krt_text(task="stubborn"))
    async with kept.going_on():
        await kept.until_ready(DEPLOYMENTS, WORK)
        (pod,) = [name for name in await kept.names(PODS) if name.startswith(WORK)]

        async def is_deaf() -> str:
            return await kept.objects.log(NAMESPACE, pod, "process", previous=False, lines=1, most=9)

        await until(is_deaf)
        kept.nats.ended.clear()
        await kept.objects.delete(PODS, await there(kept.objects, PODS, pod))

        async def is_told() -> bool:
            return "work" in kept.nats.ended

        await until(is_told, GRACE_PERIOD_SECONDS / 2)
        assert pod in await kept.names(PODS)


async def test_an_end_while_no_bridge_was_there_is_told_by_the_next(kept: Kept) -> None:
    """What runs now is younger than the last renewal of the Lease; what nobody replaced may have had something, too."""
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        await asyncio.sleep(ends.SLACK.total_seconds())  # all are older than clocks may differ
    (pod,) = [name for name in await kept.names(PODS) if name.startswith(WORK)]
    await kept.objects.delete(PODS, await there(kept.objects, PODS, pod))
    await gone(kept.objects, PODS, pod)
    await kept.until_ready(DEPLOYMENTS, WORK)
    kept.nats.ended.clear()
    async with kept.going_on():
        await settled(kept)
        assert kept.nats.ended == ["work"]


async def test_after_a_lost_connection_to_nats_each_process_is_looked_at(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        await until_asked(kept, 5)
        kept.nats.broken.set()

        async def all_looked_at() -> bool:
            return set(kept.nats.strays) == {"rest", "poll", "work", "out"}

        await until(all_looked_at)


# The cluster.


async def test_an_api_that_was_killed_finds_all_that_it_should_have_again(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)
        kept.local.kill()
        kept.local.start()
        for name in V1:
            await kept.until_ready(DEPLOYMENTS, name)


async def test_another_namespace_is_followed_and_the_old_one_left_empty(kept: Kept) -> None:
    kept.write(krt_text())
    async with kept.going_on():
        await kept.until_names(DEPLOYMENTS, V1)
        await publish(kept)
    kept.write(krt_text(more="x-airflow: {namespace: other}"))
    async with kept.going_on():
        for name in V1:
            await there(kept.objects, DEPLOYMENTS, name, "other")
        await kept.until_names(DEPLOYMENTS, set())
        await kept.until_names(INGRESSES, set())  # it would lead nowhere, and nobody could unpublish it
    kept.stub.dag.is_paused = True  # another bridge knows where to look, though nothing is wanted there any more
    async with kept.going_on():
        for name in V1:
            await gone(kept.objects, DEPLOYMENTS, name, "other")


async def test_a_cluster_that_is_not_there_is_told_once_and_waited_for(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.local.kill()
    kept.write(krt_text())
    async with kept.going_on() as task:
        await asyncio.sleep(1)
        assert not task.done()
        kept.local.start()
        await kept.until_names(DEPLOYMENTS, V1)
    assert sum("aren't looked after" in line for line in caplog.messages) == 1


async def test_where_there_is_no_cluster_it_is_told_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/kubeconfig")
    made = kept.keeping()
    made.site = replace(made.site, cluster=Cluster())
    async with at_work(made.work()) as (task,):
        await asyncio.sleep(0.5)
        assert not task.done()
    (told,) = [line for line in caplog.messages if "kubeconfig" in line.lower()]
    assert "connection kubernetes_default" in told


# What it may.

PATH = re.compile(
    r"/apis?/(?:(?P<group>[a-z0-9.]+)/)?v\w+/namespaces/[^/]+/(?P<plural>\w+)(?:/(?P<name>[^/]+))?(?P<sub>/log)?"
)


async def test_the_role_in_the_docs_allows_what_the_bridge_asks_for_and_no_more(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, str, str]] = set()
    monkeypatch.setattr(keeping, "reaching", partial(_noting, asked))
    kept.write(krt_text(task="ends", replicas=2))
    async with kept.going_on():
        await kept.until_ready(DEPLOYMENTS, REST)
        await publish(kept)
        found = await there(kept.objects, INGRESSES, "shop")
        await kept.objects.replace(INGRESSES, NAMESPACE, {**found, "spec": {"rules": [{"host": "a.example.com"}]}})
        await until_asked(kept, 5)
        kept.file.unlink()
        kept.stub.dags.clear()
        await kept.until_names(DEPLOYMENTS, set())
        await kept.until_names(INGRESSES, set())
    (role,) = [one for one in _manifests() if one["kind"] == "Role" and one["metadata"]["name"] == "kai-airflow-bridge"]
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # To apply what isn't there takes the right to create it. The rest is asked by the commands.
    creates = {(group, resource, "create") for group, resource, verb in asked if verb == "patch"}
    of_commands = {("", "events", "list"), ("", "pods/log", "get"), ("networking.k8s.io", "ingresses", "get")}
    assert asked | creates == allowed - of_commands


@asynccontextmanager
async def _noting(asked: set[tuple[str, str, str]], cluster: Cluster) -> AsyncIterator[Kubernetes]:
    async def note(_session: object, _context: object, request: aiohttp.TraceRequestStartParams) -> None:
        found = PATH.fullmatch(request.url.path)
        assert found, request.url
        read = "get" if found["name"] else "watch" if "watch" in request.url.query else "list"
        verbs = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete", "GET": read}
        asked.add((found["group"] or "", found["plural"] + (found["sub"] or ""), verbs[request.method]))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    trace.freeze()
    async with reaching(cluster) as kubernetes:
        kubernetes._api.rest_client.pool_manager.trace_configs.append(trace)
        yield kubernetes


def _manifests() -> list[Any]:
    page = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text()
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


# Why one isn't ready.


async def explained(kept: Kept, name: str, *secrets: str) -> str:
    """The cause, as soon as there is one."""

    async def told() -> str:
        deployment = await there(kept.objects, DEPLOYMENTS, name)
        pods = (await kept.objects.list(PODS, NAMESPACE, live.selector(kept.label))).items
        own = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{name}-")]
        return await causes.explained(kept.objects, deployment, own, secrets)

    return str(await until(told))


async def test_the_reason_of_a_process_that_does_not_get_ready_is_found_within_seconds(kept: Kept) -> None:
    kept.write(krt_text(trigger="deaf", task="ends"))
    async with kept.going_on():
        why = await explained(kept, REST)
        assert why.startswith("it runs, but doesn't listen on port 9000 (networking.targetPort). Remedy: ")
        first, *lines = (await explained(kept, WORK, "last")).splitlines()
        assert first.startswith("its process ended with exit code 3")
        assert lines == ["  first", "  the password: ***", "  *** words"]
        kept.write(krt_text(task="nowhere"))

        async def is_told() -> bool:
            return "its image can't be had: " in await explained(kept, WORK)

        await until(is_told)
        assert "nowhere" in await explained(kept, WORK)


async def test_a_crash_loop_is_never_taken_for_started_though_it_is_ready_for_moments(kept: Kept) -> None:
    (kept.local.home / "images.yaml").write_text(yaml.safe_dump(images() | {"ends": ["sh", "-c", "sleep 1; exit 3"]}))
    kept.write(krt_text(task="ends"))
    async with kept.going_on():
        states: set[str | None] = set()
        readiness: set[bool] = set()
        workflows = list(kept.keeping().workflows().values())
        dags = {str(one.dag_id): Dag(paused=False, broken=False) for one in workflows}
        async with asyncio.timeout(60):
            while len(readiness) < 2 or "ERROR" not in states:
                found = await objects_of(kept.objects, workflows, kept.site)
                (status,) = product_status(workflows, Facts(dags, objects=found)).workflows
                states |= {one.state for one in status.processes if one.name == "work"}
                readiness |= {is_ready(one) for one in found.deployments if one["metadata"]["name"] == WORK}
        assert states <= {"STARTING", "ERROR"}
