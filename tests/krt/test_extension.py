"""x-airflow: read as strictly as the rest, and unknown fields are errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.krt.conftest import Krt

TOP = "description: A shop"
WORKFLOW = "    type: training"
PROCESS = "        image: pick:v1"
W, P = "krt.workflows[0].x-airflow", "krt.workflows[0].processes[1].x-airflow"


def extended(krt: Krt, at: str, extension: str) -> Krt:
    indent = at[: len(at) - len(at.lstrip())]
    return krt.change(at, f"{at}\n{indent}x-airflow: {extension}")


def test_all_fields_reach_the_model(krt: Krt) -> None:
    full = extended(krt, TOP, "{product: corner-shop}")
    full = extended(full, WORKFLOW, "{schedule: 0 6 * * *, mode: stream}")
    product = extended(full, PROCESS, "{retries: 0, start_timeout: 2.5}").check().require()
    (workflow,) = product.workflows
    assert (product.name, workflow.schedule, workflow.mode) == ("corner-shop", "0 6 * * *", "stream")
    assert (workflow.processes[1].retries, workflow.processes[1].start_timeout) == (0, 2.5)
    assert (workflow.processes[0].retries, workflow.processes[0].start_timeout) == (None, None)


def test_how_a_task_is_tried_and_waited_for_reaches_the_model(krt: Krt) -> None:
    said = "{retry_delay: 0, execution_timeout: 60.5, on_message_error: continue, deferrable: true}"
    silent, told, *_ = extended(krt, PROCESS, said).check().require().workflows[0].processes
    assert (told.retry_delay, told.execution_timeout, told.on_message_error, told.deferrable) == (
        0,
        60.5,
        "continue",
        True,
    )
    assert (silent.retry_delay, silent.execution_timeout, silent.on_message_error, silent.deferrable) == (
        None,
        None,
        "fail",
        None,
    )


@pytest.mark.parametrize(
    ("kind", "mode"), [("data", "batch"), ("training", "batch"), ("feedback", "stream"), ("serving", "stream")]
)
def test_the_default_mode_follows_the_type(krt: Krt, kind: str, mode: str) -> None:
    assert krt.change("training", kind).check().require().workflows[0].mode == mode


def test_a_schedule_may_be_null(krt: Krt) -> None:
    assert extended(krt, WORKFLOW, "{schedule: null}").check().require().workflows[0].schedule is None


@pytest.mark.parametrize(
    ("at", "extension", "code", "location"),
    [
        (TOP, "{@@owners: me}", "unknown-field", "krt.x-airflow.owners"),
        (TOP, "@@[product]", "wrong-type", "krt.x-airflow"),
        (TOP, "@@shop", "wrong-type", "krt.x-airflow"),
        (TOP, "{product: @@[a]}", "wrong-type", "krt.x-airflow.product"),
        (TOP, "{product: @@My Shop}", "invalid-name", "krt.x-airflow.product"),
        (TOP, "{product: @@''}", "missing-field", "krt.x-airflow.product"),
        (TOP, f"{{product: @@{'a' * 41}}}", "name-too-long", "krt.x-airflow.product"),
        (WORKFLOW, "{schedule: @@[daily]}", "wrong-type", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@' '}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{mode: @@live}", "invalid-mode", f"{W}.mode"),
        (WORKFLOW, "{mode: @@''}", "missing-field", f"{W}.mode"),
        (WORKFLOW, "{mode: @@{a: b}}", "wrong-type", f"{W}.mode"),
        (PROCESS, "{retries: @@-1}", "invalid-retries", f"{P}.retries"),
        (PROCESS, "{retries: @@2147483648}", "invalid-retries", f"{P}.retries"),  # more than a database takes
        (WORKFLOW, "{max_active_runs: @@2147483648}", "invalid-max-active-runs", f"{W}.max_active_runs"),
        (PROCESS, "{retries: @@many}", "wrong-type", f"{P}.retries"),
        (PROCESS, "{retries: @@1.5}", "wrong-type", f"{P}.retries"),
        (PROCESS, "{start_timeout: @@0}", "invalid-start-timeout", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@-3}", "invalid-start-timeout", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@'5'}", "wrong-type", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@.inf}", "wrong-type", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@1e999}", "wrong-type", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@true}", "wrong-type", f"{P}.start_timeout"),
        (PROCESS, "{start_timeout: @@1e9}", "invalid-start-timeout", f"{P}.start_timeout"),
        (PROCESS, "{retry_delay: @@-1}", "invalid-retry-delay", f"{P}.retry_delay"),
        (PROCESS, "{retry_delay: @@1e12}", "invalid-retry-delay", f"{P}.retry_delay"),
        (PROCESS, "{retry_delay: @@soon}", "wrong-type", f"{P}.retry_delay"),
        (PROCESS, "{execution_timeout: @@0}", "invalid-execution-timeout", f"{P}.execution_timeout"),
        (PROCESS, "{execution_timeout: @@[1]}", "wrong-type", f"{P}.execution_timeout"),
        (PROCESS, "{on_message_error: @@ignore}", "invalid-on-message-error", f"{P}.on_message_error"),
        (PROCESS, "{on_message_error: @@{a: b}}", "wrong-type", f"{P}.on_message_error"),
        (PROCESS, "{deferrable: @@maybe}", "wrong-type", f"{P}.deferrable"),
        (PROCESS, "{deferrable: @@1}", "wrong-type", f"{P}.deferrable"),
    ],
)
def test_what_is_wrong_in_it_is_an_error_with_its_place(
    krt: Krt, at: str, extension: str, code: str, location: str
) -> None:
    changed = extended(krt, at, extension)
    error = changed.error()
    assert (error.code, error.location, error.line) == (code, location, changed.line)
    if code != "unknown-field":  # its place is that of its value
        assert error.column == changed.column


def test_an_unknown_field_is_told_what_was_probably_meant(krt: Krt) -> None:
    assert "Did you mean start_timeout?" in extended(krt, PROCESS, "{startTimeout: 5}").error().remedy
    assert "mode and access_control" in extended(krt, WORKFLOW, "{concurrency: 1}").error().remedy


def test_several_errors_of_it_are_reported_together(krt: Krt) -> None:
    changed = extended(krt, PROCESS, "{retries: x, start_timeout: 0, pooling: p}")
    assert {error.code for error in changed.check().errors} == {"wrong-type", "invalid-start-timeout", "unknown-field"}


def test_a_product_name_may_have_forty_characters(krt: Krt) -> None:
    assert extended(krt, TOP, f"{{product: {'a' * 40}}}").check().require().name == "a" * 40
