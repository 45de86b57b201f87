"""``kai-airflow compile FILE``: what a KRT becomes, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kai_airflow import krt
from kai_airflow.cli import main
from kai_airflow.cli.readable_plan import duration
from kai_airflow.plan import compile_product, flowchart

EXAMPLE = Path(__file__).parents[2] / "dags" / "github-trainer" / "krt.yaml"
TEXT = """\
github-trainer v1.0.0: Training workflow github event based

DAG github-trainer.training-workflow
  type          training, batch
  schedule      none
  tags          kai, product:github-trainer, type:training, version:v1.0.0
  stream        RUNS_github-trainer_training-workflow (runs)
  stream        github-trainer_v1_0_0_training-workflow (long-lived processes)
  bucket        key-store_github-trainer
  bucket        key-store_github-trainer_v1_0_0
  bucket        key-store_github-trainer_v1_0_0_training-workflow

  github-trigger: trigger, a task without a pod, and a long-lived process
    image         registry.kai.local/demo_github-trigger-mock:v1
    config        webhook_events=push, github_secret=***
    CPU           100m to 200m
    memory        100M to 200M
    bucket        key-store_github-trainer_v1_0_0_training-workflow_github-trigger
    port          3000, called by 3000, HTTP
    Deployment    github-trainer-v1-0-0-training-workflow-github-trigger
    publishes     github-trainer_v1_0_0_training-workflow.github-trigger

  splitter: task, a task with a pod
    image         registry.kai.local/demo_splitter:v1
    fed by        github-trigger
    CPU           100m to 200m
    memory        100M to 200M
    bucket        key-store_github-trainer_v1_0_0_training-workflow_splitter

  training-go: task, a task with a pod
    image         registry.kai.local/demo_training-go:v1
    fed by        splitter.go
"""
KRT = """\
version: v1.0.0
description: "{description}"
config: {{api_token: hunter2, url: 'nats://me:hunter2@host', plain: shown}}
x-airflow: {{product: shop}}
workflows:
- name: ask
  type: serving
  x-airflow: {{schedule: '0 5 * * *'}}
  config: {{password: hunter2}}
  processes:
  - {{name: start, type: trigger, image: 'r/start:v1', subscriptions: [end], resourceLimits: {limits}}}
  - {{name: end, type: exit, image: 'r/end:v1', replicas: 3, gpu: true, subscriptions: [start.a.b, start],
      config: {{github_secret: hunter2}}, resourceLimits: {limits}}}
"""
LIMITS = "{CPU: {request: '1'}, memory: {request: 1Gi}}"
NIGHTLY = f"""\
- name: nightly
  type: data
  x-airflow:
    timezone: Europe/Madrid
    start_date: 2026-01-01
    end_date: 2027-07-01T06:00:00
    catchup: true
    max_active_runs: 3
    messages_per_run: 10
    access_control: {{Op: [can_read, can_edit], Viewer: [can_read]}}
  processes:
  - {{name: clock, type: trigger, image: 'r/cron:v1', config: {{cron: '@every 90m'}}, resourceLimits: {LIMITS}}}
  - name: end
    type: exit
    image: r/end:v1
    subscriptions: [clock]
    nodeSelectors: {{disk: ssd}}
    secrets: [database]
    objectStore: {{name: models, scope: product}}
    resourceLimits: {LIMITS}
    x-airflow:
      retries: 2
      retry_delay: 90
      start_timeout: 300.5
      execution_timeout: 7200
      on_message_error: continue
      deferrable: true
      pool: heavy
      queue: slow
      priority_weight: 5
      pod:
        spec:
          imagePullSecrets: [{{name: registry}}]
          containers:
          - name: process
            env:
            - {{name: DB_PASSWORD, value: hunter2}}
            - {{name: LEVEL, value: "3"}}
            - {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: db, key: token}}}}}}
            args: ["--password=hunter2"]
"""
NIGHTLY_TEXT = """\
DAG shop.nightly
  type          data, batch
  schedule      every 1 hour 30 minutes, instead of the trigger clock
  start         2026-01-01 00:00 Europe/Madrid
  end           2027-07-01 06:00 Europe/Madrid
  catchup       from the start on
  active runs   at most 3
  messages      up to 10 a run
  access        Op: can_read, can_edit; Viewer: can_read
  tags          kai, product:shop, type:data, version:v1.0.0
  config        api_token=***, url=nats://me:***@host, plain=shown
  stream        RUNS_shop_nightly (runs)
  bucket        key-store_shop
  bucket        key-store_shop_v1_0_0
  bucket        key-store_shop_v1_0_0_nightly

  clock: trigger, a task without a pod
    image         r/cron:v1
    config        cron=@every 90m

  end: exit, a task with a pod
    image         r/end:v1
    fed by        clock
    CPU           1
    memory        1Gi
    nodes         disk=ssd
    secrets       database
    object store  shop_v1_0_0_models
    bucket        key-store_shop_v1_0_0_nightly_end
    pod           {pod}
    retries       2, after 1 minute 30 seconds
    time limits   5 minutes 0.5 seconds to subscribe, 2 hours for a try
    errors        travel on
    waits in      the triggerer
    pool          heavy
    queue         slow
    priority      5
"""
POD = {
    "spec": {
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {
                "name": "process",
                "env": [
                    {"name": "DB_PASSWORD", "value": "***"},
                    {"name": "LEVEL", "value": "3"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}},
                ],
                "args": ["--password= ***"],
            }
        ],
    }
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A valid KRT with secrets of several kinds."""
    file = tmp_path / "krt.yaml"
    file.write_text(KRT.format(description="text; token=hunter2", limits=LIMITS))
    return file


@pytest.fixture
def both(written: Path) -> Path:
    """The same with a second workflow, which says all that can be said."""
    written.write_text(written.read_text() + NIGHTLY)
    return written


def test_people_read_dags_and_tasks_in_topological_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(EXAMPLE)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(TEXT)
    tasks = [line.split(":")[0].strip() for line in shown.splitlines() if ", a task with" in line]
    assert tasks == ["github-trigger", "splitter", "training-go", "training-py", "validation", "exit"]


def test_what_a_process_asks_for_is_shown(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  type          serving, stream" in lines
    assert "  schedule      0 5 * * *" in lines
    assert "    replies from  end" in lines
    assert lines[lines.index("  end: exit, a long-lived process") :] == [
        "  end: exit, a long-lived process",
        "    image         r/end:v1",
        "    fed by        start.a.b, start",
        "    config        github_secret=***",
        "    CPU           1",
        "    memory        1Gi",
        "    GPU           one",
        "    replicas      3",
        "    bucket        key-store_shop_v1_0_0_ask_end",
        "    Deployment    shop-v1-0-0-ask-end",
        "    publishes     shop_v1_0_0_ask.end",
        "    listens       shop_v1_0_0_ask.start.a.b, consumer shop_v1_0_0_ask-start-a-b-end",
        "    listens       shop_v1_0_0_ask.start, consumer shop_v1_0_0_ask-start-end",
    ]


def test_all_that_is_said_of_a_workflow_is_shown_and_its_defaults_are_not(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "--workflow", "nightly", str(both)]) == 0
    head, _, text = capsys.readouterr().out.partition("\n\n")
    assert head == "shop v1.0.0: text; token= ***"
    assert text == NIGHTLY_TEXT.format(pod=json.dumps(POD))


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ("schedule: '0 5 * * *'", "schedule      0 5 * * *"),
        ("schedule: '0 5 * * *', timezone: Europe/Madrid", "schedule      0 5 * * *, Europe/Madrid"),
        ("timezone: Europe/Madrid", "schedule      none"),
        ("start_date: 2026-03-01T06:00:00", "start         2026-03-01 06:00 UTC"),
    ],
)
def test_a_schedule_has_its_time_zone_and_start_where_they_are_not_the_defaults(
    written: Path, more: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written.write_text(written.read_text().replace("schedule: '0 5 * * *'", more))
    assert main(["compile", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  {shown}" in lines
    assert any(line.startswith("  start  ") for line in lines) is ("start" in shown)


@pytest.mark.parametrize("cron", ["0 0 6 * * *", "CRON_TZ=Europe/Madrid 0 0 6 * * *"])
def test_a_cron_triggers_own_time_zone_makes_no_start_of_its_own(
    both: Path, cron: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = both.read_text().replace("@every 90m", cron).replace("    start_date: 2026-01-01\n", "")
    both.write_text(text.replace("    timezone: Europe/Madrid\n", ""))
    assert main(["compile", str(both), "--workflow", "nightly"]) == 0
    lines = capsys.readouterr().out.splitlines()
    zone = ", Europe/Madrid" if "Madrid" in cron else ""
    assert f"  schedule      0 6 * * *{zone}, instead of the trigger clock" in lines
    assert not any(line.startswith("  start  ") for line in lines)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 seconds"), (1, "1 second"), (0.25, "0.25 seconds"), (90, "1 minute 30 seconds"), (90000, "1 day 1 hour")],
)
def test_a_duration_is_read_in_its_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_programs_read_the_whole_plan(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--format", "json", str(written)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["product"], plan["version"], plan["description"]) == ("shop", "v1.0.0", "text; token= ***")
    (workflow,) = plan["workflows"]
    assert (workflow["dag_id"], workflow["live_stream"]) == ("shop.ask", "shop_v1_0_0_ask")
    assert workflow["schedule"] == "0 5 * * *"
    assert workflow["start"] == {"time": "2020-01-01T00:00:00+00:00", "timezone": "UTC"}
    end = workflow["processes"][1]
    assert end["feeds"] == [{"process": "start", "channel": "a.b"}, {"process": "start", "channel": ""}]
    assert end["resources"] == {"cpu_request": "1", "cpu_limit": "1", "memory_request": "1Gi", "memory_limit": "1Gi"}
    assert end["buckets"]["process"] == "key-store_shop_v1_0_0_ask_end"
    assert (end["gpu"], end["replicas"], end["retries"]) == (True, 3, None)


def test_programs_read_times_intervals_and_pods(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--format", "json", "--workflow", "nightly", str(both)]) == 0
    (workflow,) = json.loads(capsys.readouterr().out)["workflows"]
    assert workflow["schedule"] == "@every 5400s"
    assert workflow["keeper"] == "clock"
    assert workflow["start"] == {"time": "2026-01-01T00:00:00+01:00", "timezone": "Europe/Madrid"}
    assert workflow["end"] == {"time": "2027-07-01T06:00:00+02:00", "timezone": "Europe/Madrid"}
    assert workflow["access_control"] == {"Op": ["can_read", "can_edit"], "Viewer": ["can_read"]}
    assert workflow["processes"][1]["pod"] == POD
    assert workflow["processes"][1]["live"] is None


def test_each_workflow_is_a_chart_below_its_dags_id(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = compile_product(krt.load(both).require())
    assert main(["compile", "--format", "mermaid", str(both)]) == 0
    charts = [f"%% DAG {workflow.dag_id}\n{flowchart(workflow)}" for workflow in plan.workflows]
    assert capsys.readouterr().out == "\n".join(charts)
    assert main(["compile", "--format", "mermaid", "--workflow", "nightly", str(both)]) == 0
    assert capsys.readouterr().out == charts[1]


@pytest.mark.parametrize("form", ["text", "json", "mermaid"])
def test_a_workflow_that_is_not_there_is_an_error_that_says_what_is(
    both: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "--format", form, "--workflow", "nightli", str(both)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "kai-airflow: no workflow 'nightli'. Remedy: Did you mean nightly? It may be ask or nightly.\n",
    )


@pytest.mark.parametrize("form", ["text", "json", "mermaid"])
def test_no_secret_is_shown(both: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--format", form, str(both)]) == 0
    assert "hunter2" not in capsys.readouterr().out


def test_masked_values_keep_their_keys_and_others_their_values(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compile", "--format", "json", str(written)])
    (workflow,) = json.loads(capsys.readouterr().out)["workflows"]
    assert workflow["version_config"] == {"api_token": "***", "url": "nats://me:***@host", "plain": "shown"}
    assert workflow["config"] == {"password": "***"}


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_an_invalid_file_it_prints_what_validate_prints(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "krt.yaml"
    file.write_text("version: 1\ndescription: text\nworkflows: []\n")
    assert main(["validate", "--format", form, str(file)]) == 1
    expected = capsys.readouterr().out
    assert "workflows" in expected
    assert main(["compile", "--format", form, str(file)]) == 1
    assert capsys.readouterr().out == expected


def test_asked_for_a_chart_of_an_invalid_file_it_says_why_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "krt.yaml"
    file.write_text("version: 1\n")
    assert main(["compile", "--format", "mermaid", str(file)]) == 1
    assert "[invalid-version]" in capsys.readouterr().out


def test_a_missing_file_is_an_invalid_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().out


def test_a_folder_is_an_error_that_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"kai-airflow: {tmp_path} is a folder: name a krt.yaml in it\n"


def test_what_a_krt_says_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "krt.yaml"
    file.write_text(KRT.format(description=r"a\e[2J\r\nb\u202e", limits=LIMITS))
    assert main(["compile", str(file)]) == 0
    assert capsys.readouterr().out.startswith("shop v1.0.0: a\\x1b[2J\\r\\nb\\u202e\n")


def test_a_terminal_that_lacks_a_character_gets_it_escaped(tmp_path: Path) -> None:
    file = tmp_path / "krt.yaml"
    file.write_text(KRT.format(description="größer ☃", limits=LIMITS), encoding="utf-8")
    command = [sys.executable, "-c", "from kai_airflow.cli import main; main()", "compile", str(file)]
    result = subprocess.run(
        command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("shop v1.0.0: gr\\xf6\\xdfer \\u2603\n")


def test_the_product_is_named_by_the_files_real_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLE.parent)
    assert main(["compile", "krt.yaml"]) == 0
    assert "DAG github-trainer.training-workflow\n" in capsys.readouterr().out


def test_it_needs_no_airflow(written: Path) -> None:
    """Compiling takes a moment; importing Airflow takes seconds."""
    program = "import sys; from kai_airflow.cli import main; main(); sys.exit('airflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program, "compile", str(written)], check=True, capture_output=True)
