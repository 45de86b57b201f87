"""Secrets, volumes and the environment of a container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local.kubernetes.conftest import Kube

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
APP = {"volumes": [{"name": "app", "secret": {"secretName": "app"}}]}
MOUNT = [{"name": "app", "mountPath": "/kai"}]


def environment(kube: Kube, **more: Any) -> dict[str, str]:
    found: dict[str, str] = json.loads(kube.run(SHOW, **more))
    return found


def test_a_mounted_secret_is_a_folder_that_the_environment_names(kube: Kube) -> None:
    kube.secret("app", **{"app.yaml": "nats: here"})
    code = """
import os
folder = os.environ['KAI_APP_CONFIG_PATH']
file = folder + '/app.yaml'
print(open(file).read(), oct(os.stat(file).st_mode & 0o777), os.environ['FILE'] == file, os.environ['OTHER'])
"""
    env = [
        {"name": "KAI_APP_CONFIG_PATH", "value": "/kai"},
        {"name": "FILE", "value": "$(KAI_APP_CONFIG_PATH)/app.yaml"},
        {"name": "OTHER", "value": "/kaixyz"},
    ]
    log = kube.run(code, env=env, volumeMounts=MOUNT, pod=APP)
    assert log == "nats: here 0o644 True /kaixyz\n"


def test_a_word_of_the_command_that_names_a_mount_follows(kube: Kube) -> None:
    kube.secret("app", key="value")
    log = kube.run("/kai/key", command=["cat"], volumeMounts=[{"name": "app", "mountPath": "/kai/"}], pod=APP)
    assert log == "value"


def test_the_innermost_mount_wins(kube: Kube) -> None:
    kube.secret("app", key="value")
    pod = {"volumes": [*APP["volumes"], {"name": "data", "emptyDir": {}}]}
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "app", "mountPath": "/data/secret"}]
    assert kube.run("/data/secret/key", command=["cat"], volumeMounts=mounts, pod=pod) == "value"


def test_items_modes_and_paths_of_a_secret_volume(kube: Kube) -> None:
    kube.secret("app", one="1", two="2")
    items = [{"key": "one", "path": "deep/first", "mode": 0o444}]
    volumes = [{"name": "app", "secret": {"secretName": "app", "items": items, "defaultMode": 0o400}}]
    code = "cd $F && find . -type f -printf '%P %m\\n'"
    env = [{"name": "F", "value": "/kai"}]
    log = kube.run(code, image="shell", env=env, volumeMounts=MOUNT, pod={"volumes": volumes})
    assert log == "deep/first 444\n"


def test_files_that_cannot_be_made_fail_the_pod_and_the_server_goes_on(kube: Kube) -> None:
    kube.secret("app", one="1", two="2")
    items = [{"key": "one", "path": "a"}, {"key": "two", "path": "a/b"}]
    volumes = [{"name": "app", "secret": {"secretName": "app", "items": items}}]
    kube.create("", volumeMounts=MOUNT, pod={"volumes": volumes})
    pod = kube.ended()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "NodeError")
    assert kube.run("print('on')", name="q") == "on\n"


def test_a_pod_waits_for_its_secret_and_starts_when_it_is_there(kube: Kube) -> None:
    kube.create("/kai/key", command=["cat"], volumeMounts=MOUNT, pod=APP)
    kube.waiting("ContainerCreating")
    kube.until(lambda _pod: any(event.reason == "FailedMount" for event in kube.events()))
    kube.secret("app", key="late")
    kube.ended()
    assert kube.log() == "late"
    mounting = [event for event in kube.events() if event.reason == "FailedMount"]
    assert len(mounting) == 1
    assert 'secret "app" not found' in mounting[0].message


def test_a_pod_waits_for_a_key_of_its_secret(kube: Kube) -> None:
    kube.secret("app", other="")
    items = [{"key": "key", "path": "key"}]
    volumes = [{"name": "app", "secret": {"secretName": "app", "items": items}}]
    kube.create("/kai/key", command=["cat"], volumeMounts=MOUNT, pod={"volumes": volumes})
    kube.until(lambda _pod: any("has no key key" in event.message for event in kube.events()))
    kube.core.patch_namespaced_secret("app", kube.namespace, {"stringData": {"key": "now"}})
    kube.ended()
    assert kube.log() == "now"


def test_an_optional_secret_that_is_absent_is_an_empty_folder(kube: Kube) -> None:
    volumes = [{"name": "app", "secret": {"secretName": "absent", "optional": True}}]
    assert kube.run("/kai", command=["ls", "-A"], volumeMounts=MOUNT, pod={"volumes": volumes}) == ""


def test_containers_share_an_empty_dir_and_sub_paths_of_it(kube: Kube) -> None:
    volumes = [{"name": "data", "emptyDir": {}}]
    writer = {
        "name": "writer",
        "image": "shell",
        "args": ["echo shared > $OUT"],
        "env": [{"name": "OUT", "value": "/out/file"}],
        "volumeMounts": [{"name": "data", "mountPath": "/out", "subPath": "sub"}],
    }
    mounts = [{"name": "data", "mountPath": "/in"}]
    pod = {"volumes": volumes, "initContainers": [writer]}
    assert kube.run("/in/sub/file", command=["cat"], volumeMounts=mounts, pod=pod) == "shared\n"


def test_an_annotation_as_a_file(kube: Kube) -> None:
    items = [{"path": "app.yaml", "fieldRef": {"fieldPath": "metadata.annotations['kai/app']"}}]
    pod = {"volumes": [{"name": "app", "downwardAPI": {"items": items}}]}
    metadata = {"annotations": {"kai/app": "text: {{ kept }}"}}
    log = kube.run("/kai/app.yaml", command=["cat"], volumeMounts=MOUNT, pod=pod, metadata=metadata)
    assert log == "text: {{ kept }}"


def test_variables_from_values_fields_and_secrets(kube: Kube) -> None:
    kube.secret("keys", USER="me", PASSWORD="$(USER)")
    env = [
        {"name": "PLAIN", "value": "a"},
        {"name": "TWICE", "value": "$(PLAIN)$(PLAIN) $$(PLAIN) $(ABSENT)"},
        {"name": "USER", "value": "wins"},
        {"name": "ONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "PASSWORD"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "absent", "optional": True}}},
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in (
            ("NAME", "metadata.name"), ("SPACE", "metadata.namespace"), ("UID", "metadata.uid"),
            ("LABEL", "metadata.labels['app']"), ("NOTE", "metadata.annotations['absent']"), ("IP", "status.podIP"),
        )),
    ]  # fmt: skip
    sources = [{"secretRef": {"name": "keys"}}, {"prefix": "K_", "secretRef": {"name": "keys"}}]
    found = environment(kube, env=env, envFrom=sources, metadata={"labels": {"app": "demo"}})
    pod = kube.core.read_namespaced_pod("p", kube.namespace)
    expected = {
        "PLAIN": "a",
        "TWICE": "aa $(PLAIN) $(ABSENT)",
        "USER": "wins",
        "ONE": "$(USER)",
        "K_USER": "me",
        "NAME": "p",
        "SPACE": kube.namespace,
        "UID": pod.metadata.uid,
        "LABEL": "demo",
        "NOTE": "",
        "IP": "127.0.0.1",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "NONE" not in found


def test_a_container_waits_for_a_secret_of_its_environment(kube: Kube) -> None:
    kube.create("import os; print(os.environ['KEY'])", envFrom=[{"secretRef": {"name": "app"}}])
    pod = kube.waiting("CreateContainerConfigError")
    assert pod.status.container_statuses[0].state.waiting.message == 'secret "app" not found'
    kube.secret("app", KEY="late")
    kube.ended()
    assert kube.log() == "late\n"


def test_references_in_the_command_are_expanded(kube: Kube) -> None:
    env = [{"name": "WHO", "value": "you"}]
    assert kube.run("$(WHO) $$(WHO) $(NOBODY)", command=["echo"], env=env) == "you $(WHO) $(NOBODY)\n"


def test_the_pod_s_folder_is_private_and_goes_with_the_pod(kube: Kube) -> None:
    kube.secret("app", key="value")
    pod = kube.create("", volumeMounts=MOUNT, pod=APP)
    kube.ended()
    folder = kube.server.home / "pods" / pod.metadata.uid
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "volumes" / "app" / "key").read_text() == "value"
    kube.delete()
    kube.gone()
    assert not folder.exists()
