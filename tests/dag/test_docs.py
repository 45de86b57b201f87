"""What Airflow's UI tells of a workflow and its tasks."""

from __future__ import annotations

from pathlib import Path, PurePath

from kai_airflow import krt
from kai_airflow.dag import build
from kai_airflow.plan import compile_product

EXAMPLE = Path(__file__).parents[2] / "dags" / "github-trainer" / "krt.yaml"


def docs(old: str = "", new: str = "") -> tuple[str, dict[str, str]]:
    """Those of the example's DAG and tasks, after a change."""
    text = EXAMPLE.read_text().replace(old, new) if old else EXAMPLE.read_text()
    dag = build(compile_product(krt.check(text.encode(), PurePath("shop/krt.yaml")).require()).workflows[0])
    return dag.doc_md or "", {task.task_id: task.doc_md or "" for task in dag.tasks}


def test_a_dag_tells_what_it_is_its_graph_and_its_processes() -> None:
    dag, _ = docs()
    assert dag.startswith("Training workflow github event based\n\nWorkflow **training-workflow** (training) of ")
    assert 'p1(["github-trigger"])' in dag
    assert 'p2 -->|"go"| p3' in dag
    row = "| splitter | task | `registry.kai.local/demo_splitter:v1` | 100m to 200m | 100M to 200M | github\\-trigger |"
    assert row in dag


def test_a_task_tells_its_image_and_whom_it_hears() -> None:
    _, tasks = docs()
    assert "- image: `registry.kai.local/demo_training-go:v1`\n" in tasks["training-go"]
    assert "- hears: splitter\\.go\n" in tasks["training-go"]
    assert "without a pod" in tasks["github-trigger"]


def test_text_of_a_krt_is_shown_as_it_is_written() -> None:
    hostile = "<script>alert(1)</script> [x](javascript:y) **b** | `c` {{ conn.x }}"
    dag, _ = docs("'Training workflow github event based'", f"'{hostile}'")
    assert "<script>" not in dag.replace("\\<script\\>", "")
    assert "\\[x\\]\\(javascript\\:y\\) \\*\\*b\\*\\* \\| \\`c\\`" in dag


def test_a_channel_ends_no_table_and_no_chart() -> None:
    dag, tasks = docs("splitter.go", 'splitter.a"|b')
    assert 'p2 -->|"a#34;#124;b"| p3' in dag
    assert '| splitter\\.a"\\|b |' in dag
    assert '- hears: splitter\\.a"\\|b\n' in tasks["training-go"]


def test_no_configuration_and_no_secret_is_in_them() -> None:
    dag, tasks = docs("'Training workflow github event based'", "'see https://me:hunter2@host, password: hunter2'")
    told = "\n".join([dag, *tasks.values()])
    assert "hunter2" not in told
    assert "github_secret" not in told
    assert "webhook_events" not in told


def test_they_never_end_with_text_of_a_krt() -> None:
    dag, tasks = docs("'Training workflow github event based'", "'/etc/passwd.md'")
    assert {text.rstrip().rpartition("\n")[2] for text in (dag, *tasks.values())} == {
        "Made from a krt.yaml by kai-airflow."
    }
