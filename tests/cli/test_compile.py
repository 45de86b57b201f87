"""``kai-airflow compile FILE``: what a KRT becomes, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kai_airflow.cli import main

EXAMPLE = Path(__file__).parents[2] / "dags" / "github-trainer" / "krt.yaml"
TEXT = """\
github-trainer v1.0.0: Training workflow github event based

DAG github-trainer.training-workflow
  type          training, batch
  schedule      none
  tags          kai, product:github-trainer, type:training, version:v1.0.0

  github-trigger: trigger, a task without a pod
    image         registry.kai.local/demo_github-trigger-mock:v1
    CPU           100m to 200m
    memory        100M to 200M
    config        webhook_events=push, github_secret=***

  splitter: task, a task with a pod
    image         registry.kai.local/demo_splitter:v1
    fed by        github-trigger
    CPU           100m to 200m
    memory        100M to 200M

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


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A valid KRT with secrets of several kinds."""
    file = tmp_path / "krt.yaml"
    file.write_text(KRT.format(description="text", limits=LIMITS))
    return file


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
    assert lines[lines.index("  end: exit, a task with a pod") :] == [
        "  end: exit, a task with a pod",
        "    image         r/end:v1",
        "    fed by        start.a.b, start",
        "    CPU           1",
        "    memory        1Gi",
        "    GPU           one",
        "    replicas      3",
        "    config        github_secret=***",
    ]


def test_programs_read_the_whole_plan(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--format", "json", str(written)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["product"], plan["version"], plan["description"]) == ("shop", "v1.0.0", "text")
    (workflow,) = plan["workflows"]
    assert (workflow["dag_id"], workflow["live_stream"]) == ("shop.ask", "shop_v1_0_0_ask")
    assert workflow["schedule"] == "0 5 * * *"
    end = workflow["processes"][1]
    assert end["feeds"] == [{"process": "start", "channel": "a.b"}, {"process": "start", "channel": ""}]
    assert end["resources"] == {"cpu_request": "1", "cpu_limit": "1", "memory_request": "1Gi", "memory_limit": "1Gi"}
    assert end["buckets"]["process"] == "key-store_shop_v1_0_0_ask_end"
    assert (end["gpu"], end["replicas"], end["retries"]) == (True, 3, None)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_shown(written: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--format", form, str(written)]) == 0
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
