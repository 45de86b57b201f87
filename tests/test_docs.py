"""What the documentation says, as far as it can be tried."""

from __future__ import annotations

import ast
import asyncio
import configparser
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import aiohttp
import pytest
import yaml
from airflow.dag_processing.bundles.manager import DagBundlesManager
from kubernetes_asyncio import client, config

from kai_airflow import cli, krt, kube
from kai_airflow.bridge.sweep import orphans
from kai_airflow.bundle import KrtDagBundle
from kai_airflow.krt.draft import EXTENSION, ProcessExtension, ProductExtension, WorkflowExtension
from kai_airflow.krt.schema import keys_of
from kai_airflow.kube.app_config import PLACEHOLDERS
from kai_airflow.local.kubernetes.images import ImageMap
from kai_airflow.local.kubernetes.pods import Container
from kai_airflow.messaging import codec
from kai_airflow.messaging.connection import connect
from kai_airflow.messaging.drain import draining
from kai_airflow.messaging.feed import close_input, feed, open_input, publish_first
from kai_airflow.messaging.outcome import manifest, settle
from kai_airflow.messaging.streams import ensure_buckets, ensure_object_store, ensure_run_stream, seed_configuration
from kai_airflow.messaging.tries import Manifest, Try, sources
from kai_airflow.nats.address import EXTRA
from kai_airflow.operators.connections import nats_address, services
from kai_airflow.operators.pods import Pods
from kai_airflow.plan import compile_product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kai_airflow.messaging.connection import Connection
    from kai_airflow.plan import Process, Workflow
    from tests.conftest import StartNats

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KRT, PROCESSES, DEPLOYING, NATS = (ROOT / "docs" / f"{name}.md" for name in ("krt", "processes", "deploying", "nats"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"`((?:kai-airflow|make) [^`\n]*)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^\| `([a-z-]+)` \|", re.MULTILINE)
FIELD = re.compile(r"^\| (\w+) \| `(\w+)` \|", re.MULTILINE)
KEBAB = re.compile(r"[a-z]+(-[a-z]+)+")
DEADLINE = 20.0  # seconds for anything that takes far less when all is well


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no heading {heading!r}"
    return found[1]


def krts() -> list[tuple[str, str]]:
    """Every KRT of the documentation, with its page's name."""
    yamls = [(page.name, text) for page in PAGES for text in blocks(page, "yaml")]
    return [(page, text) for page, text in yamls if re.search(r"^workflows:", text, re.MULTILINE)]


def expected(text: str) -> set[str]:
    """The codes that a KRT announces in its first line; none for a valid one."""
    first = text.splitlines()[0]
    return set(first.removeprefix("# invalid:").split()) if first.startswith("# invalid:") else set()


def is_excerpt(text: str) -> bool:
    """Whether a KRT shows a part only: the rest is missing, and nothing else is wrong with it."""
    return not re.search(r"^version:", text, re.MULTILINE)


@pytest.mark.parametrize(("page", "text"), krts())
def test_a_krt_is_valid_or_has_the_errors_that_it_announces(page: str, text: str) -> None:
    report = krt.check(text.encode(), PurePath("reviews/krt.yaml"))
    left_out = {"missing-field", "not-enough-processes", "unknown-process"} if is_excerpt(text) else set()
    assert {issue.code for issue in report.errors} - left_out == expected(text), page
    assert not report.warnings


def test_all_yaml_of_the_page_on_krts_is_krts_valid_and_invalid_ones() -> None:
    texts = [text for page, text in krts() if page == KRT.name]
    assert texts == blocks(KRT, "yaml")
    assert not any(map(is_excerpt, texts))
    assert {bool(expected(text)) for text in texts} == {True, False}


def codes() -> Iterator[str]:
    """The codes in the source: what is handed to ``issue``, and all that looks like one."""
    files = [*(ROOT / "kai_airflow/krt").rglob("*.py"), ROOT / "kai_airflow/cli/validate.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "issue":
                yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))
            elif isinstance(node, ast.Constant) and KEBAB.fullmatch(str(node.value)) and node.value != EXTENSION:
                yield str(node.value)


def test_the_table_of_codes_is_that_of_the_source() -> None:
    documented = CODE.findall(section(KRT, "Codes"))
    assert sorted(documented) == sorted(set(codes()))


def test_the_table_of_the_extension_is_that_of_the_source() -> None:
    drafts = {"top": ProductExtension, "workflow": WorkflowExtension, "process": ProcessExtension}
    fields = [(where, key.name) for where, draft in drafts.items() for key in keys_of(draft).values()]
    assert FIELD.findall(section(KRT, "The extension `x-airflow`")) == fields


@pytest.mark.parametrize("form", ["text", "json"])
def test_validate_prints_what_is_shown(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (invalid,) = [text for _, text in krts() if expected(text)]
    file = tmp_path / "dags/broken/krt.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(invalid)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["validate", "--format", form, "dags/broken/krt.yaml"]) == 1
    assert capsys.readouterr().out in [text for language, text in FENCE.findall(KRT.read_text()) if language == form]


def test_diff_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = blocks(KRT, "yaml")[0]
    changed = text.replace("scorer:v1", "scorer:v2").replace("language: en", "language: es")
    for folder, content in (("before", text), ("dags", changed)):
        (tmp_path / folder / "reviews").mkdir(parents=True)
        (tmp_path / folder / "reviews/krt.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", "before/reviews/krt.yaml", "dags/reviews/krt.yaml"]) == 1
    assert capsys.readouterr().out in blocks(KRT, "text")


def test_every_consequence_of_a_change_is_explained() -> None:
    source = (ROOT / "kai_airflow/plan/consequences.py").read_text()
    found = {str(node.value) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    explained = re.findall(r"^\| (`.*`) \|", section(KRT, "What a change does").split("| Code |")[1], re.MULTILINE)
    assert set(re.findall("`(.*?)`", " ".join(explained))) == {text for text in found if KEBAB.fullmatch(text)}


def test_the_import_error_is_as_shown() -> None:
    (invalid,) = [text for _, text in krts() if expected(text)]
    path = PurePath("broken/krt.yaml")
    shown = str(krt.KrtError(path, krt.check(invalid.encode(), path).errors))
    assert f"kai_airflow.krt.report.KrtError: {shown}\n" in blocks(KRT, "text")


def commands() -> list[str]:
    """Each line of a block, and each inline code, that begins with kai-airflow or make; comments left out."""
    found: list[str] = []
    for page in PAGES:
        text = page.read_text()
        lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
        found += [line for line in lines if line.startswith(("kai-airflow ", "make "))]
        found += COMMAND.findall(FENCE.sub("", text))
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in found})


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_shown_exists(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        target, *variables = words
        assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all("=" in variable for variable in variables)
        return
    try:
        cli._parser(words).parse_args(words)
    except SystemExit as end:
        assert end.code == 0  # noqa: PT017 - --version and --help end so


def links() -> list[tuple[str, str]]:
    """The relative links of each page."""
    found = [(page, target) for page in PAGES for target in LINK.findall(FENCE.sub("", page.read_text()))]
    return [(str(page.relative_to(ROOT)), target) for page, target in found if "://" not in target]


@pytest.mark.parametrize(("page", "target"), links())
def test_a_relative_link_resolves(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text()), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def connections(heading: str) -> list[str]:
    """The JSON of the connections below a heading of the page on deploying."""
    return [text for language, text in FENCE.findall(section(DEPLOYING, heading)) if language == "json"]


def test_nats_default_gives_the_address_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = connections("nats_default")
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", text)
    assert nats_address().pods_url == "nats://kai:CHANGE-ME@nats.example.com:4222"


def test_the_connection_of_nats_is_one_and_its_keys_are_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NATS_DEFAULT", blocks(NATS, "json")[0])
    assert nats_address().servers == ["tls://a.example.com:4222", "tls://b.example.com:4222"]
    assert re.findall(r"^\| `(\w+)` \|", section(NATS, "The connection").split("| Key |")[1], re.MULTILINE) == list(
        EXTRA
    )


@pytest.mark.parametrize("code", blocks(NATS, "python"))
def test_python_for_nats_is_a_dag_file(code: str, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(code)
    runpy.run_path(str(tmp_path / "shown.py"))


def test_kai_services_names_every_key_of_every_section(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = connections("kai_services")
    monkeypatch.setenv("AIRFLOW_CONN_KAI_SERVICES", text)
    sections = services().sections
    assert {name: set(keys) for name, keys in sections.items()} == {n: set(keys) for n, keys in PLACEHOLDERS.items()}
    kinds = {name: {key: type(value) for key, value in keys.items()} for name, keys in sections.items()}
    assert kinds == {name: {key: type(value) for key, value in keys.items()} for name, keys in PLACEHOLDERS.items()}


def test_airflow_takes_the_setting_of_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    text = blocks(DEPLOYING, "ini")[0]
    parser = configparser.ConfigParser()
    parser.read_string(text)
    setting = parser["dag_processor"]["dag_bundle_config_list"]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", setting)
    manager = DagBundlesManager()  # type: ignore[no-untyped-call]
    bundles = {bundle.name: bundle for bundle in manager.get_all_dag_bundles()}
    krt_bundle = bundles["krt"]
    assert isinstance(krt_bundle, KrtDagBundle)
    assert krt_bundle.refresh_interval == 5
    assert krt_bundle.path.parts[-3:] == ("dag_bundles", "krt", "generated")
    assert "dags-folder" in bundles


def manifests(name: str) -> dict[str, Any]:
    """The Kubernetes objects of this name of the page on deploying, by kind."""
    listed = map(yaml.safe_load, blocks(DEPLOYING, "yaml"))
    return {found["kind"]: found for found in listed if found["metadata"]["name"] == name}


def allowed() -> set[tuple[str, str]]:
    """What the Role of the tasks allows: resource and verb."""
    rules = manifests("kai-airflow")["Role"]["rules"]
    assert all(rule["apiGroups"] == [""] for rule in rules)
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize("name", ["kai-airflow", "kai-airflow-bridge"])
def test_a_binding_binds_its_role(name: str) -> None:
    role, binding = manifests(name)["Role"], manifests(name)["RoleBinding"]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    assert binding["metadata"] == role["metadata"] == {"name": name, "namespace": "kai"}


def verb(request: aiohttp.TraceRequestStartParams) -> tuple[str, str]:
    """The resource and verb by which Kubernetes authorizes a request for a namespaced object."""
    _, _, resource, *rest = request.url.path.removeprefix("/api/v1/").split("/")
    if rest[1:]:
        resource = f"{resource}/{rest[1]}"
    watched = parse_qs(request.url.query_string).get("watch", ["false"]) != ["false"]
    read = "get" if rest else "watch" if watched else "list"
    return resource, {"POST": "create", "DELETE": "delete", "GET": read}[request.method]


@asynccontextmanager
async def local_kubernetes(folder: Path, asked: set[tuple[str, str]]) -> AsyncIterator[client.CoreV1Api]:
    """A local Kubernetes API with one image; what is asked of it is noted."""
    images, kubeconfig = folder / "images.yaml", folder / "kubeconfig"
    wait_and_greet = f"until [ -e {folder / 'seen'} ]; do sleep 0.01; done; echo hello"
    images.write_text(json.dumps({"echo": ["sh", "-c", wait_and_greet]}))
    words = ["-m", "kai_airflow.local.kubernetes", "--home", str(folder), "--images", str(images)]
    server = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(DEADLINE):
            while not kubeconfig.exists():
                assert server.returncode is None
                await asyncio.sleep(0.01)
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api:
            api.rest_client.pool_manager.trace_configs.append(_noting(asked))
            yield client.CoreV1Api(api)
    finally:
        server.terminate()
        await server.communicate()


def _noting(asked: set[tuple[str, str]]) -> aiohttp.TraceConfig:
    async def note(_session: object, _context: object, request: aiohttp.TraceRequestStartParams) -> None:
        asked.add(verb(request))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    trace.freeze()
    return trace


async def unknown(_: kube.TaskName) -> str | None:
    """The state of a task that Airflow doesn't know."""
    return None


async def test_the_role_allows_what_a_try_asks_of_kubernetes_and_no_more(tmp_path: Path) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "default", "labels": {kube.TRY_LABEL: "try"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": kube.CONTAINER, "image": "echo"}]},
    }
    asked: set[tuple[str, str]] = set()
    async with local_kubernetes(tmp_path, asked) as api:
        pods = Pods(api)
        assert [orphan async for orphan in orphans(api, "", "default", unknown)] == []
        reference = await pods.create(pod)
        assert await pods.create(pod) == reference  # an answer that was lost: the request comes again
        await pods.create_secret(kube.secret("p", "try", reference, {}, None))
        states = []
        async for state in pods.states(reference):
            states.append(state)
            (tmp_path / "seen").touch()  # it hasn't ended before it is watched
        assert states[-1].exit_code == 0
        assert [line async for line in pods.output(reference, lambda: True)] == ["hello"]
        await pods.delete(reference)
    assert asked == allowed()


@dataclass(frozen=True)
class Example:
    """The example of the pages, written to a dags folder: its workflow, and what runs for an image."""

    workflow: Workflow
    images: ImageMap

    def process(self, name: str) -> Process:
        (found,) = [process for process in self.workflow.processes if process.name == name]
        return found


@pytest.fixture
def example(tmp_path: Path) -> Example:
    text = blocks(KRT, "yaml")[0]
    files = dict(re.findall(r"^`dags/(\S+)`.*?:\n\n```\w+\n(.*?)^```$", PROCESSES.read_text(), re.M | re.S))
    for name, content in {**files, "reviews/krt.yaml": text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "images.yaml").write_text(blocks(PROCESSES, "yaml")[0])
    product = krt.load(tmp_path / "reviews/krt.yaml", PurePath("reviews/krt.yaml")).require()
    return Example(compile_product(product).workflows[0], ImageMap(tmp_path / "images.yaml"))


def test_the_example_maps_each_image_that_is_launched_to_a_program_that_is_shown(example: Example) -> None:
    for process in example.workflow.processes:
        if process.type != "trigger":
            command = example.images.command(Container(name=kube.CONTAINER, image=process.image))
            assert command[0] == sys.executable
            assert Path(command[1]).is_file()


async def prepare(connection: Connection, workflow: Workflow, process: Process) -> None:
    buckets = process.buckets
    await ensure_buckets(connection.js, (buckets.shared, buckets.version, buckets.workflow, buckets.process))
    await seed_configuration(connection.js, buckets.version, workflow.version_config)
    await seed_configuration(connection.js, buckets.workflow, workflow.config)
    if process.object_store:
        await ensure_object_store(connection.js, process.object_store)


async def run_task(
    connection: Connection, example: Example, name: str, before: dict[str, Manifest], folder: Path, url: str
) -> Manifest:
    """One try, as the task of the process makes it but for the pod."""
    process = example.process(name)
    of = Try(example.workflow.run_stream, f"try-of-{name}", name)
    wanted = sorted(
        source
        for upstream in process.upstream
        for source in sources(before[upstream], [found.channel for found in process.feeds if found.process == upstream])
    )
    await prepare(connection, example.workflow, process)
    await open_input(connection, of)
    (share,) = await feed(connection, [of], wanted)
    wiring = kube.Wiring(url, of.stream, of.output, (of.input,))
    (folder / name).mkdir()
    (folder / name / "app.yaml").write_text(yaml.safe_dump(kube.app_config(example.workflow, process, wiring, {})))
    async with draining(connection, share, connection.server_id) as drain, asyncio.timeout(DEADLINE):
        words = example.images.command(Container(name=kube.CONTAINER, image=process.image))
        program = await asyncio.create_subprocess_exec(
            *words, env=os.environ | {"KAI_APP_CONFIG_PATH": str(folder / name)}
        )
        try:
            while not (await drain.progress()).finished:
                assert program.returncode is None
                await drain.changed()
            await drain.settled()
        finally:
            program.send_signal(signal.SIGTERM)
            assert await program.wait() == 0
    outcome = settle(share, drain.outputs, None)
    assert not outcome.complaints
    await close_input(connection, of)
    return manifest(of.stream, name, [outcome])


async def test_the_example_runs_with_the_permissions_that_are_shown(
    example: Example, start_nats: StartNats, tmp_path: Path
) -> None:
    permissions = json.loads(connections("NATS")[0])
    user = {"user": "kai", "password": "CHANGE-ME", "permissions": permissions}
    server = start_nats(json.dumps({"authorization": {"users": [user]}}))
    url = server.url.replace("://", "://kai:CHANGE-ME@")
    request = json.loads(blocks(PROCESSES, "json")[0])
    async with connect(url, name="test") as connection:
        entry = Try(example.workflow.run_stream, "try-of-entry", "entry")
        await ensure_run_stream(connection.js, entry.stream)
        message = codec.Message("r-1", codec.pack(request["payload"]), from_node="entry")
        first = await publish_first(connection, entry, message)
        done = {"entry": Manifest(entry.stream, "entry", 1, 1, 0, {"": {entry.id: (first,)}})}
        for name in ("scorer", "apology", "report"):
            done[name] = await run_task(connection, example, name, done, tmp_path, url)
        found = [await connection.js.get_msg(entry.stream, n) for n in done["report"].sequences]
    assert [codec.unpack(codec.decode(one.data or b"").payload) for one in found] == [
        {"counts": {"reviews": 2, "low": 1}},
        {"from": "apology", "letter": "Dear Ada, we are sorry. Your corner shop"},
    ]
    assert "Permissions Violation" not in "".join(server.output)
