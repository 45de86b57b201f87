"""Images that the image map doesn't have, run by a real podman. Skipped where it can't run one."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes import engine
from kai_airflow.local.ports import free
from tests.local.kubernetes.conftest import Kube, Server, until
from tests.local.kubernetes.test_deployments import Deployments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = "localhost/kai-airflow-test:1"
LABEL = "kai-airflow/home"
LINGER = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('ready')\nwhile True: signal.pause()"
STUBBORN = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready')\nwhile True: signal.pause()"
SERVE = "import http.server\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"


def rootfs() -> bytes:
    """This machine's Python and the libraries that it needs, as a tar."""
    python = Path(sys.base_exec_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    dynamic = [python, *(stdlib / "lib-dynload").glob("*.so")]
    linked = subprocess.run(["ldd", *map(str, dynamic)], capture_output=True, text=True, check=False).stdout
    libraries = {
        word for line in linked.splitlines() for word in line.split() if word.startswith("/") and ":" not in word
    }

    def small(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        left_out = {"site-packages", "dist-packages", "test", "idlelib", "lib2to3", "__pycache__", "ensurepip"}
        parts = Path(member.name).parts
        return None if left_out & set(parts) or any(part.startswith("config-") for part in parts) else member

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", dereference=True) as tar:
        tar.add(python, "/bin/python")
        tar.add(stdlib, str(stdlib), filter=small)
        for library in sorted(libraries):
            tar.add(library, library)
        tar.addfile(_folder("/work"))
    return content.getvalue()


def _folder(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o1777
    return member


class Podman:
    """podman with the options that this machine may need."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "containers.conf"
        runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
        limits = '["nofile=1024:1024", "nproc=4096:4096"]'
        self.config.write_text(f"{runtime}[containers]\ndefault_ulimits = {limits}\n")
        self.environment = {"CONTAINERS_CONF": str(self.config)}

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        everything = {**os.environ, **self.environment}
        done = subprocess.run(["podman", *words], input=stdin, env=everything, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout.decode().strip()

    def containers(self, home: Path) -> list[str]:
        return self("ps", "--all", "--quiet", f"--filter=label={LABEL}={home}").split()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if shutil.which("podman") is None:
        pytest.skip("podman isn't installed: images without a command aren't run in this test")
    found = Podman(tmp_path_factory.mktemp("podman"))
    entry = '["/bin/python", "-u", "-c"]'
    try:
        found("import", f"--change=ENTRYPOINT {entry}", "-", IMAGE, stdin=rootfs())
        found("run", "--rm", "--network=host", IMAGE, "print('hello')")
    except RuntimeError as error:
        pytest.skip(f"podman can't run an image here: {error}")
    yield found
    found("rmi", "--force", IMAGE)


@pytest.fixture(scope="module")
def running(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("engine")
    server = Server(folder, KAI_AIRFLOW_ENGINE="podman", SERVER_SECRET="not for containers", **podman.environment)
    yield server.start()
    assert server.stop() == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    assert podman.containers(server.home) == []


@pytest.fixture
def kube(running: Server) -> Iterator[Kube]:
    found = running.namespace()
    yield found
    found.core.delete_collection_namespaced_pod(found.namespace, grace_period_seconds=0)
    found.close()


def state(pod: Any) -> Any:
    return pod.status.container_statuses[0].state


def test_an_image_runs_with_its_arguments_environment_and_folder(kube: Kube) -> None:
    secret = "s3cret\nof two lines"
    kube.secret("s", TOKEN=secret)
    code = "import os, sys; print(sys.argv[1:], os.environ['TOKEN'], os.environ['PATH'], os.environ['A'], os.getcwd())"
    env = [
        {"name": "A", "value": "a = b"},
        {"name": "PATH", "value": "/bin"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}},
    ]
    more = {"workingDir": "/work", "env": env}
    kube.create("", image=IMAGE, **{**more, "args": [code, "x", "$(A)", "--privileged"]})
    pod = kube.ended()
    assert kube.log() == f"['x', 'a = b', '--privileged'] {secret} /bin a = b /work\n"
    assert (pod.status.phase, state(pod).terminated.exit_code) == ("Succeeded", 0)
    pulled = next(event for event in kube.events() if event.reason == "Pulled")
    assert pulled.message == f"podman has the image {IMAGE}"


def test_a_command_replaces_the_entry_point_and_the_exit_code_is_the_program_s(kube: Kube) -> None:
    kube.create(
        "",
        image=IMAGE,
        command=["/bin/python", "-c"],
        args=["import os; print('SERVER_SECRET' in os.environ); exit(3)"],
    )
    pod = kube.ended()
    assert (pod.status.phase, state(pod).terminated.exit_code, kube.log()) == ("Failed", 3, "False\n")


def test_a_variable_with_a_star_brings_no_others_along(kube: Kube) -> None:
    code = "import os; print(os.environ['*'], 'SERVER_SECRET' in os.environ)"
    assert kube.run(code, image=IMAGE, env=[{"name": "*", "value": "1"}]) == "1 False\n"


def test_volumes_are_at_their_real_paths_and_secrets_can_not_be_written(kube: Kube) -> None:
    kube.secret("app", **{"app.yaml": "nats: here"})
    code = """
print(open('/etc/kai,ro=false/app.yaml').read(), open('/one').read())
open('/scratch/x', 'w').write('y')
try:
    open('/etc/kai,ro=false/app.yaml', 'w')
except OSError as error:
    print(error.strerror)
import os
os.setuid(65534)
print(open('/etc/kai,ro=false/app.yaml').read())
open('/scratch/z', 'w')
"""
    mounts = [
        {"name": "app", "mountPath": "/etc/kai,ro=false"},
        {"name": "app", "mountPath": "/one", "subPath": "app.yaml"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    volumes = [{"name": "app", "secret": {"secretName": "app"}}, {"name": "scratch", "emptyDir": {}}]
    log = kube.run(code, image=IMAGE, volumeMounts=mounts, pod={"volumes": volumes})
    assert log == "nats: here nats: here\nRead-only file system\nnats: here\n"


def test_no_secret_stands_among_the_words_of_a_process(kube: Kube) -> None:
    kube.secret("s", TOKEN="s3cret-never-shown")
    kube.create(LINGER, image=IMAGE, envFrom=[{"secretRef": {"name": "s"}}])
    kube.line("ready")
    shown = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if _readable(file)]
    assert any(IMAGE.encode() in words for words in shown)
    assert not any(b"s3cret-never-shown" in words for words in shown)


def _readable(file: Path) -> bool:
    try:
        file.read_bytes()
    except OSError:
        return False
    return True


def test_it_ends_on_sigterm_and_leaves_nothing(kube: Kube, podman: Podman) -> None:
    kube.create(LINGER, image=IMAGE)
    kube.line("ready")
    kube.delete(grace_period_seconds=20)
    began = time.monotonic()
    pod = kube.until(lambda pod: pod.status.phase == "Failed")
    assert pod is None or state(pod).terminated.exit_code == 7
    kube.gone()
    assert time.monotonic() - began < 15
    assert podman.containers(kube.server.home) == []


def test_one_that_does_not_listen_is_killed_after_the_grace_and_leaves_nothing(kube: Kube, podman: Podman) -> None:
    kube.create(STUBBORN, image=IMAGE)
    kube.line("ready")
    kube.delete(grace_period_seconds=1)
    kube.gone()
    assert podman.containers(kube.server.home) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_server(podman: Podman, tmp_path: Path, how: int) -> None:
    server = Server(tmp_path, KAI_AIRFLOW_ENGINE="podman", **podman.environment).start()
    own = server.namespace()
    own.create(STUBBORN, image=IMAGE)
    own.line("ready")
    assert len(podman.containers(server.home)) == 1
    own.close()
    server.stop(how)
    until(lambda: podman.containers(server.home) == [])


def test_what_a_killed_server_left_is_taken_away_by_the_next(podman: Podman, tmp_path: Path) -> None:
    server = Server(tmp_path, KAI_AIRFLOW_ENGINE="podman", **podman.environment)
    podman("create", f"--label={LABEL}={server.home}", IMAGE, "")
    assert len(podman.containers(server.home)) == 1
    server.start()
    try:
        until(lambda: podman.containers(server.home) == [])
    finally:
        server.stop()


def test_an_image_that_can_not_be_pulled_waits_and_says_what_to_do(kube: Kube) -> None:
    kube.create("", image="127.0.0.1:1/nobody/nothing:1")
    message = state(kube.waiting("ErrImagePull")).waiting.message
    assert message.startswith("podman can't pull image 127.0.0.1:1/nobody/nothing:1: ")
    assert "give it a command in images.yaml" in message
    assert "Back-off" in state(kube.waiting("ImagePullBackOff")).waiting.message


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [
        ("localhost/kai-airflow-test:never", "Never", "ErrImageNeverPull"),
        ("--privileged", "IfNotPresent", "InvalidImageName"),
        ("a b", "IfNotPresent", "InvalidImageName"),
    ],
)
def test_images_that_can_not_be(kube: Kube, image: str, policy: str, reason: str) -> None:
    kube.create("", image=image, imagePullPolicy=policy)
    kube.waiting(reason)


def test_the_map_goes_before_the_engine_and_counts_at_once(kube: Kube) -> None:
    text = kube.server.images.read_text()
    kube.create("", image="127.0.0.1:1/late:1")
    kube.waiting("ErrImagePull")
    try:
        kube.server.images.write_text(f"{text}\n127.0.0.1:1/late:1: [echo, mapped]\n")
        kube.ended()
    finally:
        kube.server.images.write_text(text)
    assert kube.log() == "mapped \n"


def test_a_port_is_the_machine_s_own_and_a_rollout_hands_it_over(kube: Kube) -> None:
    deployments = Deployments(kube)
    (port,) = free(1)
    pod = {
        "image": IMAGE,
        "args": [SERVE.format(port=port)],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}},
    }
    deployments.create(pod=pod)
    deployments.complete()
    assert httpx.get(f"http://127.0.0.1:{port}/etc/").status_code in (200, 404)
    kube.create("", image=IMAGE, ports=[{"containerPort": port}], name="other")
    message = state(kube.waiting("PortTaken", "other")).waiting.message
    assert message.startswith(f"port {port} of this machine is taken")
    kube.delete("other", grace_period_seconds=0)
    kube.gone("other")
    deployments.patch(template={"metadata": {"annotations": {"a": "b"}}})
    deployments.complete()
    assert httpx.get(f"http://127.0.0.1:{port}/etc/").status_code in (200, 404)
    deployments.apps.delete_namespaced_deployment("d", kube.namespace)


class TestFind:
    @pytest.fixture
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
        monkeypatch.setenv("PATH", str(tmp_path))

        def install(name: str) -> str:
            (tmp_path / name).touch(mode=0o755)
            return str(tmp_path / name)

        return install

    def test_podman_goes_before_docker(self, programs: Callable[[str], str]) -> None:
        assert engine.find({}) is None
        docker = programs("docker")
        assert engine.find({}) == docker
        podman = programs("podman")
        assert engine.find({}) == podman

    def test_one_can_be_named_or_none(self, programs: Callable[[str], str]) -> None:
        programs("podman")
        assert engine.find({engine.VARIABLE: "none"}) is None
        docker = programs("docker")
        assert engine.find({engine.VARIABLE: "docker"}) == docker
        assert engine.find({engine.VARIABLE: docker}) == docker
        with pytest.raises(StackError, match="KAI_AIRFLOW_ENGINE=nerdctl: no such program"):
            engine.find({engine.VARIABLE: "nerdctl"})
