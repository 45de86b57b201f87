"""A pod's life: states, events, images, init containers, deadlines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client import ApiException

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.kubernetes.conftest import Kube

LINGER = "import signal; print('ready'); signal.pause()"


def state(pod: Any, number: int = 0) -> Any:
    return pod.status.container_statuses[number].state


def test_a_pod_that_ends_well_has_succeeded_with_every_detail(kube: Kube) -> None:
    created = kube.create("print('hello')")
    assert created.status.phase == "Pending"
    pod = kube.ended()
    ended = state(pod).terminated
    assert pod.status.phase == "Succeeded"
    assert (ended.exit_code, ended.reason, ended.signal) == (0, "Completed", None)
    assert created.metadata.creation_timestamp <= ended.started_at <= ended.finished_at
    assert pod.status.pod_ip == "127.0.0.1"
    assert pod.status.start_time is not None
    assert pod.status.container_statuses[0].container_id.startswith("process://")
    conditions = {one.type: one.status for one in pod.status.conditions}
    assert conditions == {"PodScheduled": "True", "Initialized": "True", "ContainersReady": "False", "Ready": "False"}
    assert kube.log() == "hello\n"


def test_a_running_pod_is_ready(kube: Kube) -> None:
    kube.create(LINGER)
    pod = kube.running()
    found = pod.status.container_statuses[0]
    assert (found.ready, found.started, found.restart_count) == (True, True, 0)
    assert found.state.running.started_at is not None
    assert {one.type: one.status for one in pod.status.conditions}["Ready"] == "True"


@pytest.mark.parametrize(
    ("code", "exit_code", "number"),
    [("raise SystemExit(3)", 3, None), ("import os; os.kill(os.getpid(), 9)", 137, 9)],
)
def test_a_pod_that_ends_badly_has_failed(kube: Kube, code: str, exit_code: int, number: int | None) -> None:
    kube.create(code)
    pod = kube.ended()
    ended = state(pod).terminated
    assert (pod.status.phase, ended.exit_code, ended.signal, ended.reason) == ("Failed", exit_code, number, "Error")


def test_events_tell_the_pods_story_in_order(kube: Kube) -> None:
    kube.create("print('hello')")
    kube.ended()
    events = sorted(kube.events(), key=lambda event: int(event.metadata.resource_version))
    assert [event.reason for event in events] == ["Scheduled", "Pulled", "Created", "Started"]
    assert {event.involved_object.kind for event in events} == {"Pod"}
    assert events[-1].involved_object.field_path == "spec.containers{base}"


def test_a_command_that_is_not_there_is_a_start_error(kube: Kube) -> None:
    kube.create("", command=["no-such-program"])
    pod = kube.ended()
    ended = state(pod).terminated
    assert (pod.status.phase, ended.reason, ended.exit_code) == ("Failed", "StartError", 128)
    assert "no-such-program" in ended.message
    assert "No such file" in ended.message
    assert kube.log() == ""


def test_a_command_with_a_nul_byte_is_a_start_error(kube: Kube) -> None:
    kube.create("", command=["echo", "a\0b"])
    assert state(kube.ended()).terminated.reason == "StartError"


def test_a_working_folder_that_is_not_there_is_a_start_error(kube: Kube) -> None:
    kube.create("", workingDir="/no/such/folder")
    ended = state(kube.ended()).terminated
    assert ended.reason == "StartError"
    assert "/no/such/folder" in ended.message


def test_containers_of_a_pod_run_side_by_side_in_one_folder(kube: Kube) -> None:
    wait = "import os,time\nwhile not os.path.exists('done'): time.sleep(.01)\nprint('seen')"
    containers = [
        {"name": "a", "image": "python", "args": [wait]},
        {"name": "b", "image": "python", "args": ["open('done', 'w')"]},
    ]
    kube.create("", pod={"containers": containers})
    pod = kube.ended()
    assert [one.name for one in pod.status.container_statuses] == ["a", "b"]
    assert pod.status.phase == "Succeeded"
    assert kube.log(container="a") == "seen\n"


def test_one_failed_container_of_two_fails_the_pod(kube: Kube) -> None:
    containers = [
        {"name": "a", "image": "python", "args": [""]},
        {"name": "b", "image": "python", "args": ["raise SystemExit(1)"]},
    ]
    kube.create("", pod={"containers": containers})
    assert kube.ended().status.phase == "Failed"


def test_init_containers_run_one_after_the_other_before_the_others(kube: Kube) -> None:
    inits = [{"name": f"i{n}", "image": "shell", "args": [f"echo {n} >> order"]} for n in (1, 2)]
    log = kube.run("print(open('order').read().split())", pod={"initContainers": inits})
    pod = kube.core.read_namespaced_pod("p", kube.namespace)
    assert log == "['1', '2']\n"
    assert [one.state.terminated.reason for one in pod.status.init_container_statuses] == ["Completed"] * 2


def test_a_failed_init_container_fails_the_pod_and_nothing_else_starts(kube: Kube) -> None:
    inits = [{"name": "i", "image": "shell", "args": ["exit 4"]}]
    kube.create("print('never')", pod={"initContainers": inits})
    pod = kube.ended()
    assert pod.status.phase == "Failed"
    assert state(pod).waiting.reason == "PodInitializing"


def test_an_active_deadline_ends_the_pod(kube: Kube) -> None:
    kube.create(LINGER, pod={"activeDeadlineSeconds": 1})
    pod = kube.ended()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")
    assert state(pod).terminated.exit_code == 143


def test_nothing_of_the_server_s_environment_reaches_a_container(kube: Kube) -> None:
    """The shared server has SERVER_SECRET in its environment."""
    found = json.loads(kube.run("import json, os; print(json.dumps(dict(os.environ)))"))
    assert set(found) <= {"PATH", "HOME", "LANG", "TZ", "LC_CTYPE"}  # LC_CTYPE: Python sets it for itself
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_python_is_the_server_s_interpreter(kube: Kube) -> None:
    assert kube.run("import sys; print(sys.executable)").strip() == sys.executable
    assert kube.run("python -c 'import sys; print(sys.prefix)'", image="shell", name="q").strip() == sys.prefix


def test_a_container_s_command_replaces_the_map_s_and_its_args_follow(kube: Kube) -> None:
    assert kube.run("three", command=["echo", "two"]) == "two three\n"


class TestImages:
    """Images that aren't in the map."""

    @pytest.fixture
    def images(self, kube: Kube) -> Iterator[Path]:
        """The shared server's images.yaml, as it was afterwards."""
        text = kube.server.images.read_text()
        yield kube.server.images
        kube.server.images.write_text(text)

    def test_an_image_that_is_not_in_the_map_waits_until_it_is(self, kube: Kube, images: Path) -> None:
        kube.create("", image="registry.example/new:1", name="late")
        pod = kube.waiting("ErrImagePull", "late")
        message = state(pod).waiting.message
        assert str(images) in message
        assert "registry.example/new:1: [" in message
        backing_off = state(kube.waiting("ImagePullBackOff", "late")).waiting.message
        assert str(images) in backing_off
        with pytest.raises(ApiException, match="trying and failing to pull image") as refused:
            kube.log("late")
        assert refused.value.status == 400
        images.write_text(images.read_text() + "\nregistry.example/new:1: [echo, pulled]\n")
        assert kube.ended("late").status.phase == "Succeeded"
        assert kube.log("late") == "pulled \n"
        assert {event.reason for event in kube.events("late")} >= {"Failed", "BackOff", "Pulled"}

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: [b]\nbroken: [", 2),
            ("a: [b]\n\nb: just text", 3),
            ("a: [b]\nb: []", 2),
            ("a: [b, {c: d}]", 1),
            ("- a", 1),
            ("a: [b]\n\tb: [c]", 2),
        ],
    )
    def test_a_broken_map_is_named_with_its_line(self, kube: Kube, images: Path, text: str, line: int) -> None:
        images.write_text(text)
        kube.create("")
        message = state(kube.waiting("ErrImagePull")).waiting.message
        assert message.startswith(f"{images}, line {line}: ")

    def test_a_missing_map_is_named(self, kube: Kube, images: Path) -> None:
        images.unlink()
        kube.create("")
        assert f"{images} doesn't exist" in state(kube.waiting("ErrImagePull")).waiting.message

    def test_a_binary_map_is_a_message_too(self, kube: Kube, images: Path) -> None:
        images.write_bytes(b"\x00\xff\xfe")
        kube.create("")
        assert str(images) in state(kube.waiting("ErrImagePull")).waiting.message

    def test_words_with_a_dot_and_slash_are_files_beside_the_map(self, kube: Kube, images: Path) -> None:
        images.parent.joinpath("script.py").write_text("print('beside')")
        images.write_text(yaml.safe_dump({"script": ["python", "./script.py"]}))
        assert kube.run("", image="script") == "beside\n"


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
        {"containers": [{"name": "c", "image": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]},
        {"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}]},
    ],
)
def test_what_the_runtime_does_not_do_is_refused_with_501(kube: Kube, spec: dict[str, Any]) -> None:
    with pytest.raises(ApiException) as refused:
        kube.create("", pod=spec)
    status = json.loads(refused.value.body)
    assert (refused.value.status, status["reason"]) == (501, "NotImplemented")


def container(**more: Any) -> dict[str, Any]:
    """A spec with one container that is fine but for what is added."""
    return {"containers": [{"name": "c", "image": "i", **more}]}


def volume(**more: Any) -> dict[str, Any]:
    """A spec with one volume of a Secret, with something added."""
    return {"volumes": [{"name": "v", "secret": {"secretName": "s", **more}}]}


FIELD = {"fieldRef": {"fieldPath": "spec.x"}}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": "c"}, "spec.containers"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image"),
        ({"containers": [{"name": "c", "image": "i"}] * 2}, "spec"),
        (container(name="Upper"), "spec.containers[0].name"),
        (container(args="text"), "spec.containers[0].args"),
        (container(args=[1]), "spec.containers[0].args[0]"),
        (container(env=[{"name": "A=B", "value": "c"}]), "spec.containers[0].env[0].name"),
        (container(env=[{"name": "A", "valueFrom": {}}]), "spec.containers[0].env[0].valueFrom"),
        (
            container(env=[{"name": "A", "valueFrom": FIELD}]),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        ),
        (container(volumeMounts=[{"name": "absent", "mountPath": "/w"}]), "spec"),
        (container(volumeMounts=[{"name": "v", "mountPath": "/"}]), "spec.containers[0].volumeMounts[0].mountPath"),
        (container(volumeMounts=[{"name": "v", "mountPath": "w"}]), "spec.containers[0].volumeMounts[0].mountPath"),
        (volume(items=[{"key": "k", "path": "../k"}]), "spec.volumes[0].secret.items[0].path"),
        (volume(items=[{"key": "k", "path": "k\0"}]), "spec.volumes[0].secret.items[0].path"),
        (volume(items=[{"key": "k", "path": "/k"}]), "spec.volumes[0].secret.items[0].path"),
        (volume(defaultMode=0o7777), "spec.volumes[0].secret.defaultMode"),
        ({"volumes": [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]}, "spec.volumes[0]"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds"),
        ({"activeDeadlineSeconds": 2**40}, "spec.activeDeadlineSeconds"),
    ],
)
def test_a_pod_that_breaks_a_rule_is_refused_with_its_place(kube: Kube, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiException) as refused:
        kube.create("", pod=spec)
    status = json.loads(refused.value.body)
    assert (refused.value.status, status["reason"]) == (422, "Invalid")
    assert field in [cause["field"] for cause in status["details"]["causes"]]
