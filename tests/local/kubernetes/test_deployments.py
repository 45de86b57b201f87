"""Deployments: their pods, rollouts, restarts, status, scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, watch
from kubernetes.client import ApiException

from tests.local.kubernetes.conftest import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.kubernetes.conftest import Kube

LINGER = "import signal; print('ready'); signal.pause()"
LABELS = {"app": "d"}


class Deployments:
    """The Deployments of a namespace, through the client."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.space = kube, kube.namespace
        self.apps = client.AppsV1Api(kube.api_client)

    def body(self, code: str = LINGER, *, name: str = "d", pod: dict[str, Any] | None = None, **spec: Any) -> Any:
        container = {"name": "base", "image": "python", "args": [code], **(pod or {})}
        template = {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": LABELS}, "template": template, **spec},
        }

    def create(self, code: str = LINGER, **more: Any) -> Any:
        return self.apps.create_namespaced_deployment(self.space, self.body(code, **more))

    def patch(self, **spec: Any) -> Any:
        return self.apps.patch_namespaced_deployment("d", self.space, {"spec": spec})

    def image(self, code: str) -> Any:
        """Another template."""
        template = {"spec": {"containers": [{"name": "base", "image": "python", "args": [code]}]}}
        return self.patch(template=template)

    def until(self, test: Callable[[Any], object], name: str = "d") -> Any:
        """The Deployment, as soon as it is so."""
        stream = watch.Watch()
        options = {"field_selector": f"metadata.name={name}", "timeout_seconds": int(DEADLINE)}
        watched = stream.stream(self.apps.list_namespaced_deployment, self.space, **options)
        for event in watched:
            if test(event["object"]):
                stream.stop()
                watched.close()
                return event["object"]
        raise AssertionError(f"waited in vain: {self.apps.read_namespaced_deployment(name, self.space).status}")

    def complete(self, replicas: int = 1) -> Any:
        """The Deployment, as soon as all of its pods are of its present template, and ready."""

        def done(found: Any) -> bool:
            status = found.status
            current = status.observed_generation == found.metadata.generation
            numbers = (status.replicas or 0, status.updated_replicas or 0, status.ready_replicas or 0)
            return current and numbers == (replicas,) * 3

        return self.until(done)

    def pods(self) -> list[Any]:
        found = self.kube.core.list_namespaced_pod(self.space).items
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]


@pytest.fixture
def deployments(kube: Kube) -> Any:
    found = Deployments(kube)
    yield found
    found.apps.delete_collection_namespaced_deployment(kube.namespace)


def conditions(deployment: Any) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in deployment.status.conditions}


def test_a_deployment_makes_its_pods_and_says_so(deployments: Deployments) -> None:
    created = deployments.create()
    assert (created.spec.replicas, created.metadata.generation) == (1, 1)
    assert created.spec.strategy.rolling_update.max_surge == "25%"
    found = deployments.complete()
    assert conditions(found) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert (found.status.available_replicas, found.status.unavailable_replicas) == (1, None)
    (pod,) = deployments.pods()
    assert pod.metadata.name.startswith(f"d-{pod.metadata.labels['pod-template-hash']}-")
    assert pod.metadata.labels["app"] == "d"
    (owner,) = pod.metadata.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("Deployment", created.metadata.uid, True)


def test_a_pod_that_is_deleted_is_replaced(deployments: Deployments) -> None:
    deployments.create()
    deployments.complete()
    (before,) = deployments.pods()
    deployments.kube.delete(before.metadata.name)
    deployments.kube.gone(before.metadata.name)
    deployments.complete()
    (after,) = deployments.pods()
    assert after.metadata.uid != before.metadata.uid


def test_deleting_a_deployment_takes_its_pods_along(deployments: Deployments) -> None:
    deployments.create(replicas=2)
    deployments.complete(2)
    names = [pod.metadata.name for pod in deployments.pods()]
    deployments.apps.delete_namespaced_deployment("d", deployments.space)
    for name in names:
        deployments.kube.gone(name)
    assert deployments.kube.core.list_namespaced_pod(deployments.space).items == []


def test_replicas_follow_the_spec_and_the_scale(deployments: Deployments) -> None:
    deployments.create(replicas=3)
    deployments.complete(3)
    scale = deployments.apps.read_namespaced_deployment_scale("d", deployments.space)
    assert (scale.spec.replicas, scale.status.replicas, scale.status.selector) == (3, 3, "app=d")
    deployments.apps.patch_namespaced_deployment_scale("d", deployments.space, {"spec": {"replicas": 1}})
    deployments.complete(1)
    scale = deployments.apps.read_namespaced_deployment_scale("d", deployments.space)
    scale.spec.replicas = 0
    deployments.apps.replace_namespaced_deployment_scale("d", deployments.space, scale)
    deployments.complete(0)
    with pytest.raises(ApiException) as refused:
        deployments.apps.patch_namespaced_deployment_scale("d", deployments.space, {"spec": {"replicas": -1}})
    assert refused.value.status == 422
    scale.metadata.resource_version = "1"
    with pytest.raises(ApiException) as stale:
        deployments.apps.replace_namespaced_deployment_scale("d", deployments.space, scale)
    assert stale.value.status == 409


def test_a_new_template_is_ready_before_the_old_one_goes(deployments: Deployments) -> None:
    deployments.create(f"{LINGER} # 1", pod={"ports": [{"containerPort": 80}]})
    deployments.complete()
    (old,) = deployments.pods()
    port = "int(os.environ['KAI_AIRFLOW_PORT_80'])"
    listen = f"import os, socket, signal\ns = socket.create_server(('127.0.0.1', {port}))"
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    container = {"name": "base", "image": "python", "readinessProbe": probe, "ports": [{"containerPort": 80}]}
    gate = "import os, time\nwhile not os.path.exists('go'): time.sleep(.01)\n"
    changed = deployments.patch(
        template={"spec": {"containers": [{**container, "args": [f"{gate}{listen}\nsignal.pause()"]}]}}
    )
    assert changed.metadata.generation == 2
    found = deployments.until(lambda d: d.status.replicas == 2 and d.status.updated_replicas == 1)
    assert conditions(found)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert {pod.metadata.uid for pod in deployments.pods()} > {old.metadata.uid}
    (new,) = (pod for pod in deployments.pods() if pod.metadata.uid != old.metadata.uid)
    deployments.kube.running(new.metadata.name)
    still = deployments.kube.core.read_namespaced_pod(new.metadata.name, deployments.space)
    assert {one.type: one.status for one in still.status.conditions}["Ready"] == "False"
    home = deployments.kube.server.home / "pods" / new.metadata.uid / "home"
    (home / "go").touch()
    deployments.complete()
    deployments.kube.gone(old.metadata.name)


def test_recreate_waits_for_the_end_of_the_old_pods(deployments: Deployments) -> None:
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('ready')\nwhile True: signal.pause()"
    deployments.create(stubborn, strategy={"type": "Recreate"})
    deployments.complete()
    (old,) = deployments.pods()
    deployments.kube.line("ready", old.metadata.name)
    deployments.image(LINGER)
    found = deployments.until(lambda d: d.status.observed_generation == 2 and not d.status.replicas)
    assert conditions(found)["Available"] == ("False", "MinimumReplicasUnavailable")
    deployments.complete()
    (new,) = deployments.pods()
    assert new.metadata.creation_timestamp > old.metadata.creation_timestamp


def test_a_container_that_ends_is_started_again_after_a_growing_pause(deployments: Deployments) -> None:
    code = "open('n', 'a').write('x'); n = len(open('n').read()); print('run', n); exit(n)"
    deployments.create(code)
    pod = deployments.until(lambda d: d.status.replicas) and deployments.pods()[0]
    name = pod.metadata.name

    def crashed(count: int) -> Callable[[Any], bool]:
        def test(pod: Any) -> bool:
            (one,) = pod.status.container_statuses or [None]
            waiting = one and one.state.waiting
            return bool(waiting and waiting.reason == "CrashLoopBackOff" and one.restart_count == count)

        return test

    first = deployments.kube.until(crashed(0), name)
    assert first.status.phase == "Running"
    (one,) = first.status.container_statuses
    assert (one.last_state.terminated.exit_code, one.ready) == (1, False)
    assert one.state.waiting.message == "back-off 1s restarting failed container=base"
    second = deployments.kube.until(crashed(1), name)
    (one,) = second.status.container_statuses
    assert (one.last_state.terminated.exit_code, one.state.waiting.message[:11]) == (2, "back-off 2s")
    assert deployments.kube.log(name) == "run 2\n"
    assert deployments.kube.log(name, previous=True) == "run 2\n"
    reasons = [event.reason for event in deployments.kube.events(name)]
    assert reasons.count("BackOff") == 2
    found = deployments.apps.read_namespaced_deployment("d", deployments.space)
    assert conditions(found)["Available"] == ("False", "MinimumReplicasUnavailable")
    assert found.status.unavailable_replicas == 1


def test_the_log_of_the_run_before_is_there_while_the_next_one_runs(deployments: Deployments) -> None:
    code = f"import os\nif os.path.exists('n'):\n    print('second'); {LINGER}\nopen('n', 'w'); print('first'); exit(1)"
    deployments.create(code)
    name = deployments.until(lambda d: d.status.replicas) and deployments.pods()[0].metadata.name
    deployments.kube.until(
        lambda pod: bool(pod.status.container_statuses and pod.status.container_statuses[0].restart_count), name
    )
    deployments.kube.line("ready", name)
    assert deployments.kube.log(name) == "second\nready\n"
    assert deployments.kube.log(name, previous=True) == "first\n"


def test_there_is_no_previous_log_before_a_restart(deployments: Deployments) -> None:
    deployments.create()
    deployments.complete()
    (pod,) = deployments.pods()
    with pytest.raises(ApiException) as refused:
        deployments.kube.log(pod.metadata.name, previous=True)
    assert refused.value.status == 400
    assert "previous terminated container" in refused.value.body


def test_a_rollout_that_does_not_get_on_says_so(deployments: Deployments) -> None:
    deployments.create("exit(1)", progressDeadlineSeconds=1)
    found = deployments.until(lambda d: conditions(d).get("Progressing", ("", ""))[0] == "False")
    assert conditions(found)["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_a_restart_of_a_rollout_by_an_annotation(deployments: Deployments) -> None:
    deployments.create()
    deployments.complete()
    (old,) = deployments.pods()
    deployments.patch(template={"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}})
    deployments.complete()
    (new,) = deployments.pods()
    assert new.metadata.uid != old.metadata.uid
    assert new.metadata.annotations == {"kubectl.kubernetes.io/restartedAt": "now"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"replicas": -1}, "spec.replicas"),
        ({"selector": {"matchLabels": {"app": "other"}}}, "spec"),
        ({"selector": {}}, "spec.selector.matchLabels"),
        ({"strategy": {"type": "Other"}}, "spec.strategy.type"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, "spec.strategy.rollingUpdate.maxSurge"),
        ({"template": {"metadata": {"labels": LABELS}, "spec": {"containers": []}}}, "spec.template.spec.containers"),
    ],
)
def test_a_deployment_that_makes_no_sense_is_refused(deployments: Deployments, spec: Any, field: str) -> None:
    response = deployments.kube.http.post(
        f"/apis/apps/v1/namespaces/{deployments.space}/deployments", json=deployments.body(**spec)
    )
    assert response.status_code == 422
    assert any(cause["field"].startswith(field) for cause in response.json()["details"]["causes"])


def test_pods_that_do_not_restart_are_no_template(deployments: Deployments) -> None:
    body = deployments.body()
    body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    with pytest.raises(ApiException) as refused:
        deployments.apps.create_namespaced_deployment(deployments.space, body)
    assert refused.value.status == 422


@pytest.mark.parametrize("spec", [{"paused": True}, {"minReadySeconds": 3}])
def test_what_deployments_do_not_do_here_is_refused(deployments: Deployments, spec: Any) -> None:
    with pytest.raises(ApiException) as refused:
        deployments.create(**spec)
    assert refused.value.status == 501


def test_a_selector_stays(deployments: Deployments) -> None:
    deployments.create()
    with pytest.raises(ApiException) as refused:
        deployments.patch(selector={"matchLabels": {"app": "e"}}, template={"metadata": {"labels": {"app": "e"}}})
    assert refused.value.status == 422


def test_a_status_is_the_server_s_own(deployments: Deployments) -> None:
    body = {**deployments.body(), "status": {"readyReplicas": 7}}
    assert deployments.apps.create_namespaced_deployment(deployments.space, body).status.ready_replicas is None


class TestAutoscaler:
    def scaler(self, **spec: Any) -> dict[str, Any]:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        return {"metadata": {"name": "d"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec}}

    def test_it_holds_the_bounds_and_says_that_nothing_measures(self, deployments: Deployments) -> None:
        deployments.create()
        scaling = client.AutoscalingV2Api(deployments.kube.api_client)
        created = scaling.create_namespaced_horizontal_pod_autoscaler(
            deployments.space, self.scaler(minReplicas=2, metrics=[{"type": "Resource"}])
        )
        assert (created.spec.min_replicas, created.status.conditions) == (2, None)
        deployments.complete(2)
        found = scaling.read_namespaced_horizontal_pod_autoscaler("d", deployments.space)
        assert (found.status.current_replicas, found.status.desired_replicas) == (2, 2)
        reasons = {one.type: (one.status, one.reason) for one in found.status.conditions}
        assert reasons == {
            "AbleToScale": ("True", "SucceededGetScale"),
            "ScalingActive": ("False", "FailedGetResourceMetric"),
        }
        deployments.patch(replicas=9)
        deployments.complete(3)
        scaling.delete_namespaced_horizontal_pod_autoscaler("d", deployments.space)

    def test_one_without_a_deployment_says_so(self, deployments: Deployments) -> None:
        scaling = client.AutoscalingV2Api(deployments.kube.api_client)
        stream = watch.Watch().stream(
            scaling.list_namespaced_horizontal_pod_autoscaler, deployments.space, timeout_seconds=int(DEADLINE)
        )
        scaling.create_namespaced_horizontal_pod_autoscaler(deployments.space, self.scaler())
        told = next(event["object"].status.conditions for event in stream if event["object"].status.conditions)
        assert [(one.type, one.status, one.reason) for one in told] == [("AbleToScale", "False", "FailedGetScale")]
        scaling.delete_namespaced_horizontal_pod_autoscaler("d", deployments.space)

    @pytest.mark.parametrize("spec", [{"maxReplicas": 0}, {"minReplicas": 4}, {"scaleTargetRef": {"kind": "Pod"}}])
    def test_one_that_makes_no_sense_is_refused(self, deployments: Deployments, spec: Any) -> None:
        scaling = client.AutoscalingV2Api(deployments.kube.api_client)
        with pytest.raises(ApiException) as refused:
            scaling.create_namespaced_horizontal_pod_autoscaler(deployments.space, self.scaler(**spec))
        assert refused.value.status == 422
