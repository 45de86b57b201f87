"""Files dropped into the dags folder of a running stack (P1, P3)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.stack.krts import install_examples, krt, problem, process, until

if TYPE_CHECKING:
    from kai_airflow.local.airflow_api import AirflowApi
    from kai_airflow.local.stack import Stack

VALID = krt(process("start", "trigger", "none"), process("exit", "exit", "none", "start"))
EXAMPLE = "github-trainer.training-workflow"
DEADLINE = 10.0  # seconds, of P1


@pytest.fixture(scope="module", autouse=True)
def _dags(stack: Stack, api: AirflowApi) -> None:
    install_examples(stack.dags)
    api.wait_for_dag(EXAMPLE, 60)


def test_a_file_dropped_in_is_a_dag_within_ten_seconds(stack: Stack, api: AirflowApi) -> None:
    (stack.dags / "dropped").mkdir()
    (stack.dags / "dropped" / "krt.yaml").write_text(VALID)
    until(lambda: api.has_dag("dropped.work"), DEADLINE)


def test_a_file_named_after_its_product_is_a_dag_too(stack: Stack, api: AirflowApi) -> None:
    (stack.dags / "named.krt.yaml").write_text(VALID)
    until(lambda: api.has_dag("named.work"), DEADLINE)


def test_a_broken_file_is_an_import_error_of_its_own_until_it_is_mended(stack: Stack, api: AirflowApi) -> None:
    file = stack.dags / "broken" / "krt.yaml"
    file.parent.mkdir()
    file.write_text(VALID.replace("subscriptions: [start]", "subscriptions: [stat]"))
    until(lambda: problem(api, "broken/krt.yaml") != "", DEADLINE)
    said = problem(api, "broken/krt.yaml")
    assert "broken/krt.yaml: 1 error\n  9:" in said
    assert "krt.workflows[0].processes[1]" in said
    assert "start" in said
    assert api.has_dag(EXAMPLE)
    file.write_text(VALID)
    until(lambda: api.has_dag("broken.work") and not problem(api, "broken/krt.yaml"), DEADLINE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("syntax", b"version: [v1.0.0\nworkflows:"),
        ("binary", bytes(range(256)) * 10),
        ("tabs", b"version:\n\t- v1.0.0"),
        ("tags", b"version: !!python/object/apply:os.system ['touch /tmp/kai-airflow-was-here']"),
        (
            "bomb",
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 108)),
        ),
        ("huge", b"#" * (100 << 20)),
        ("deep", b"[" * 100_000),
        ("nul", VALID.replace("'a test'", '"a\\0test"').encode()),
    ],
)
def test_a_hostile_file_is_an_import_error_and_hides_no_neighbour(
    stack: Stack, api: AirflowApi, name: str, content: bytes
) -> None:
    folder = stack.dags / f"hostile-{name}"
    folder.mkdir()
    (folder / "krt.yaml").write_bytes(content)
    until(lambda: problem(api, f"hostile-{name}/krt.yaml") != "", DEADLINE)
    assert f"hostile-{name}/krt.yaml" in problem(api, f"hostile-{name}/krt.yaml")
    (stack.dags / f"beside-{name}").mkdir()
    (stack.dags / f"beside-{name}" / "krt.yaml").write_text(VALID)
    until(lambda: api.has_dag(f"beside-{name}.work"), DEADLINE)
    shutil.rmtree(folder)
    until(lambda: not problem(api, f"hostile-{name}/krt.yaml"), 60)


def test_a_removed_file_takes_its_dag_with_it(stack: Stack, api: AirflowApi) -> None:
    file = stack.dags / "removed.krt.yaml"
    file.write_text(VALID)
    until(lambda: api.has_dag("removed.work"), DEADLINE)
    file.unlink()
    until(lambda: not api.has_dag("removed.work"), 60)


def test_a_file_parsed_twenty_times_has_one_version(stack: Stack, api: AirflowApi) -> None:
    for _ in range(20):
        before = api.last_parsed(EXAMPLE)
        api.parse_again(EXAMPLE)
        until(lambda before=before: api.last_parsed(EXAMPLE) != before, 60)  # type: ignore[misc]
    assert api.dag_versions(EXAMPLE) == [1]
