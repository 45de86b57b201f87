"""The clients that the project uses: kubernetes_asyncio, and the provider's pod managers and hook."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from kubernetes_asyncio import client, config, watch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.kubernetes.conftest import Kube

PROVIDER = '''
"""What KubernetesPodOperator does with a pod, through the classes that it does it with."""
import asyncio, logging, sys
from kubernetes import client, config
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.utils.pod_manager import AsyncPodManager, PodManager
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
(namespace,) = sys.argv[1:]
config.load_kube_config()
core = client.CoreV1Api()


def pod(name, image, code):
    container = client.V1Container(name="base", image=image, args=[code])
    spec = client.V1PodSpec(containers=[container], restart_policy="Never")
    metadata = client.V1ObjectMeta(name=name, namespace=namespace, labels={"dag_id": "d"})
    return client.V1Pod(api_version="v1", kind="Pod", metadata=metadata, spec=spec)


async def start(manager, remote):
    events = asyncio.create_task(manager.watch_pod_events(remote, check_interval=1))
    await manager.await_pod_start(remote, check_interval=0.1)
    await events


manager = PodManager(core)
remote = manager.create_pod(pod("sync", "python", "import time; print('one'); time.sleep(0.5); print('two')"))
asyncio.run(start(manager, remote))
status = manager.fetch_container_logs(remote, "base", follow=True)
print("still running", status.running)
print("phase", manager.await_pod_completion(remote, container_name="base").status.phase)
print("events", *sorted(event.reason for event in manager.read_pod_events(remote).items))
core.patch_namespaced_pod("sync", namespace, {"metadata": {"labels": {"already_checked": "True"}}})
found = core.list_namespaced_pod(namespace, label_selector="dag_id=d,already_checked!=True")
print("unchecked", len(found.items))
manager.delete_pod(remote)
manager.delete_pod(remote)

remote = manager.create_pod(pod("absent", "absent", ""))
try:
    asyncio.run(start(manager, remote))
except PodLaunchFailedException as error:
    print("refused", "images.yaml" in str(error))
manager.delete_pod(remote)


async def deferred():
    hook = AsyncKubernetesHook(conn_id=None)
    manager = AsyncPodManager(hook)
    remote = core.create_namespaced_pod(namespace, pod("deferred", "python", "print('three')"))
    await manager.await_pod_start(remote, check_interval=0.1)
    await hook.wait_until_container_complete("deferred", namespace, "base", 0.1)
    await asyncio.sleep(1)  # the manager leaves lines of the current second to the next reading
    await manager.fetch_container_logs_before_current_sec(remote, "base")
    print("deferred events", len((await manager.read_pod_events(remote)).items) > 3)
    async for event in hook.watch_pod_events("deferred", namespace, timeout_seconds=1):
        raise AssertionError("a pod that has ended is not watched")
    await hook.delete_pod("deferred", namespace, grace_period_seconds=0)


asyncio.run(deferred())
'''


async def test_the_asyncio_client_creates_watches_patches_and_deletes(kube: Kube) -> None:
    settings = client.Configuration()
    await config.load_kube_config(str(kube.server.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as api_client:
        core = client.CoreV1Api(api_client)
        manifest: Any = kube.manifest("import signal; print('ready'); signal.pause()")
        created = await core.create_namespaced_pod(kube.namespace, manifest)
        since = created.metadata.resource_version
        await follow(core, kube, since, "MODIFIED", lambda pod: pod.status.phase == "Running")
        labels = {"metadata": {"labels": {"seen": "yes"}}}
        patched = await core.patch_namespaced_pod("p", kube.namespace, labels)
        assert patched.metadata.labels == {"seen": "yes"}
        marked = await core.delete_namespaced_pod("p", kube.namespace, grace_period_seconds=5)
        assert marked.metadata.deletion_grace_period_seconds == 5
        await follow(core, kube, since, "DELETED", lambda pod: pod.metadata.deletion_timestamp is not None)


async def follow(core: Any, kube: Kube, since: str, kind: str, test: Any) -> None:
    options = {"resource_version": since, "timeout_seconds": 15}
    async with watch.Watch().stream(core.list_namespaced_pod, kube.namespace, **options) as stream:
        async for event in stream:
            if event["type"] == kind and test(event["object"]):
                return
    raise AssertionError(f"no pod was {kind} so")


def test_the_provider_s_pod_managers_run_pods_and_show_their_logs(kube: Kube, tmp_path: Path) -> None:
    folder = {"AIRFLOW_HOME": str(tmp_path)}
    environment = {**os.environ, **folder, "KUBECONFIG": str(kube.server.kubeconfig)}
    words = [sys.executable, "-W", "ignore", "-c", PROVIDER, kube.namespace]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "[base] one",
        "[base] two",
        "still running False",
        "phase Succeeded",
        "events Created Pulled Scheduled Started",
        "unchecked 0",
        "refused True",
        "[base] three",
        "deferred events True",
    ):
        assert line in done.stdout, done.stdout + done.stderr
    assert "The Pod has an Event: Successfully assigned" in done.stdout
    assert "interrupted" not in done.stdout
