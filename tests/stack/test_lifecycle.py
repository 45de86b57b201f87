"""A product is started, published, looked at, unpublished and stopped, on the whole stack; and its page in Airflow."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.stack.krts import add_images, krt, process, until
from tests.stack.pipelines import command
from tests.stack.test_bridge_commands import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

PRODUCT = "lifecycle"
DAG = f"{PRODUCT}.work"
PORT = 9000
SOON = 60.0  # seconds
# A trigger that people call, and that says who it is.
TRIGGER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the trigger")

http.server.HTTPServer(("127.0.0.1", int(os.environ["KAI_AIRFLOW_PORT_9000"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def product(stack: Stack, api: AirflowApi) -> Site:
    """The product, unpaused as all are in a local stack."""
    add_images(stack, {"test/caller": ["python", "-c", TRIGGER], "test/forward": command("forward")})
    folder = stack.dags / PRODUCT
    folder.mkdir()
    networking = f", networking: {{targetPort: {PORT}, destinationPort: 80}}"
    start = process("start", "trigger", "test/caller", more=networking)
    folder.joinpath("krt.yaml").write_text(krt(start, process("exit", "exit", "test/forward", "start")))
    api.wait_for_dag(DAG, 60)
    return Site(stack)


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """Somebody who is logged in as a browser is."""
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=30) as client:
        login = {"username": stack.user, "password": stack.password}
        client.cookies.set("_token", client.post("/auth/token", json=login).json()["access_token"])
        yield client


def said(product: Site, *words: str) -> str:
    ran = product.run(*words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def state(product: Site) -> str:
    (found,) = [json.loads(line) for line in product.run("status", PRODUCT, "--json").stdout.splitlines()]
    return str(found["state"])


def events(browser: httpx.Client) -> list[tuple[str, dict[str, Any]]]:
    """Who did what to the DAG, and what he said, as Airflow's audit log has it."""
    answer = browser.get("/api/v2/eventLogs", params={"dag_id": DAG, "order_by": "id"}).json()["event_logs"]
    found = [(one["owner"], json.loads(one["extra"] or "{}")) for one in answer]
    return [(owner, extra) for owner, extra in found if "kai_action" in extra]


def test_a_version_is_stopped_started_published_and_unpublished(
    product: Site, stack: Stack, browser: httpx.Client
) -> None:
    assert said(product, "stop", PRODUCT, "--comment", "closed for the night") == f"{PRODUCT} v1.0.0: STOPPED\n"
    assert said(product, "start", PRODUCT, "--comment", 'the "sale" begins & ends') == f"{PRODUCT} v1.0.0: STARTED\n"

    workflow, trigger, url = said(product, "publish", PRODUCT, "--comment", "go").split()
    assert (workflow, trigger) == ("work", "start")
    assert httpx.get(url, trust_env=False).text == "the trigger"
    assert state(product) == "PUBLISHED"
    # The page looks the site up when somebody asks for it, and doesn't let him wait for it.
    until(lambda: '<span class="state published">PUBLISHED</span>' in browser.get("/kai/").text, SOON)
    assert f'<a href="{url}"' in browser.get("/kai/").text

    refused = product.run("stop", PRODUCT)
    assert refused.returncode == 2
    assert "is published" in refused.stderr
    assert said(product, "unpublish", PRODUCT) == f"{PRODUCT} v1.0.0: unpublished\n"
    assert httpx.get(url, trust_env=False).status_code == 404
    assert state(product) == "STARTED"

    by = {} if getpass.getuser() == stack.user else {"author": getpass.getuser()}
    keys = ("kai_action", "comment", *by)
    noted = [(owner, {key: extra.get(key) for key in keys}) for owner, extra in events(browser)]
    assert noted == [
        (stack.user, {"kai_action": "stop", "comment": "closed for the night", **by}),
        (stack.user, {"kai_action": "start", "comment": 'the "sale" begins & ends', **by}),
        (stack.user, {"kai_action": "publish", "comment": "go", **by}),
        (stack.user, {"kai_action": "unpublish", "comment": None, **by}),
    ]
    assert browser.get(f"/api/v2/dags/{DAG}").json()["is_paused"] is False


def test_the_page_is_for_who_is_logged_in(product: Site, stack: Stack, browser: httpx.Client) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        for path in ("/kai/", f"/kai/messages?dag_id={DAG}&run_id=r&task_id=start"):
            sent = stranger.get(path)
            assert sent.status_code == 303
            assert sent.headers["location"].startswith("/api/v2/auth/login?next=http")
            assert PRODUCT not in sent.text.replace(path, "")
        assert stranger.get("/kai/", headers={"Authorization": "Bearer nonsense"}).status_code == 403
        assert stranger.get("/kai/openapi.json").status_code == 404
    page = browser.get("/kai/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    for file in ("kai.css", "kai.js", "light.svg", "dark.svg"):
        assert browser.get(f"/kai/static/{file}").status_code == 200


def test_it_is_in_airflows_navigation_once(browser: httpx.Client) -> None:
    plugins = [one for one in browser.get("/api/v2/plugins").json()["plugins"] if one["name"] == "kai"]
    assert [view["name"] for plugin in plugins for view in plugin["external_views"]] == ["KAI"]
    assert browser.get("/api/v2/plugins/importErrors").json()["import_errors"] == []


def test_each_task_leads_to_its_messages(product: Site, api: AirflowApi, browser: httpx.Client) -> None:
    run = api.wait_for_run(api.start_run(DAG, {"payload": "<b>secret payload</b>"}), 180)
    links = f"/api/v2/dags/{DAG}/dagRuns/{run.run_id}/taskInstances/exit/links"
    link = browser.get(links).json()["extra_links"]["KAI messages"]
    until(lambda: "<td>start</td>" in browser.get(link).text, SOON)
    page = browser.get(link)
    manifest = api.xcom(run, "exit", "manifest")
    assert f"<code>{manifest['stream']}</code>" in page.text
    for sequences in manifest["channels"][""]["sequences"].values():
        assert f"<code>{sequences}</code>" in page.text
    assert "secret payload" not in page.text
    missing = browser.get("/kai/messages", params={"dag_id": DAG, "run_id": run.run_id, "task_id": "<none>"})
    assert missing.status_code == 404


def test_a_process_that_cannot_start_is_told_by_start_status_and_page(
    product: Site, stack: Stack, browser: httpx.Client
) -> None:
    add_images(stack, {"test/broken": ["python", "-c", "raise SystemExit('no such table: <orders>')"]})
    text = (stack.dags / PRODUCT / "krt.yaml").read_text()
    (stack.dags / PRODUCT / "krt.yaml").write_text(text.replace("test/caller", "test/broken"))
    until(lambda: state(product) == "ERROR", SOON)
    ran = product.run("start", PRODUCT)
    assert ran.returncode == 2
    assert "can't start: work: start: its process ended with exit code 1" in ran.stderr
    assert "no such table: <orders>" in ran.stderr
    assert product.run("status", PRODUCT).returncode == 1
    until(lambda: "no such table: &lt;orders&gt;" in browser.get("/kai/").text, SOON)
