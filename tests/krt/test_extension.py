"""x-airflow: read as strictly as the rest, and unknown fields are errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kai_airflow.krt import pod_template, schema
from kai_airflow.krt.place import Findings, Place
from kai_airflow.krt.reading import documents
from tests.krt import pod_fields

if TYPE_CHECKING:
    from kai_airflow.krt.nodes import Node
    from tests.krt.conftest import Krt

TOP = "description: A shop"
WORKFLOW = "    type: training"
PROCESS = "        image: pick:v1"
PLACE = Place("krt", 1, 1)
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
        (TOP, "{owner: @@''}", "missing-field", "krt.x-airflow.owner"),
        (TOP, "{owner: @@[me]}", "wrong-type", "krt.x-airflow.owner"),
        (TOP, f"{{owner: @@{'a' * 501}}}", "invalid-owner", "krt.x-airflow.owner"),
        (TOP, "{tags: @@a}", "wrong-type", "krt.x-airflow.tags"),
        (TOP, "{tags: [a, @@[b]]}", "wrong-type", "krt.x-airflow.tags[1]"),
        (TOP, "{tags: [a, @@'']}", "invalid-tag", "krt.x-airflow.tags[1]"),
        (TOP, f"{{tags: [@@{'a' * 101}]}}", "invalid-tag", "krt.x-airflow.tags[0]"),
        (TOP, "{namespace: @@My_NS}", "invalid-name", "krt.x-airflow.namespace"),
        (TOP, f"{{namespace: @@{'a' * 64}}}", "name-too-long", "krt.x-airflow.namespace"),
        (TOP, "{version_in_dag_id: @@maybe}", "wrong-type", "krt.x-airflow.version_in_dag_id"),
        (TOP, "@@[product]", "wrong-type", "krt.x-airflow"),
        (TOP, "@@shop", "wrong-type", "krt.x-airflow"),
        (TOP, "{product: @@[a]}", "wrong-type", "krt.x-airflow.product"),
        (TOP, "{product: @@My Shop}", "invalid-name", "krt.x-airflow.product"),
        (TOP, "{product: @@''}", "missing-field", "krt.x-airflow.product"),
        (TOP, f"{{product: @@{'a' * 41}}}", "name-too-long", "krt.x-airflow.product"),
        (WORKFLOW, "{schedule: @@[daily]}", "wrong-type", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@' '}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@''}", "missing-field", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@nonsense}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@61 * * * *}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@0 0 30 2 *}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@'@every 5m'}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, f"{{schedule: @@{'1' * 300}}}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@'@continuous'}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{schedule: @@'@continuous', max_active_runs: 2}", "invalid-schedule", f"{W}.schedule"),
        (WORKFLOW, "{timezone: @@Mars/Olympus}", "invalid-timezone", f"{W}.timezone"),
        (WORKFLOW, "{timezone: @@../../etc/passwd}", "invalid-timezone", f"{W}.timezone"),
        (WORKFLOW, "{timezone: @@Europe}", "invalid-timezone", f"{W}.timezone"),
        (WORKFLOW, "{timezone: @@''}", "missing-field", f"{W}.timezone"),
        (WORKFLOW, "{start_date: @@soon}", "wrong-type", f"{W}.start_date"),
        (WORKFLOW, "{start_date: @@2026-02-30}", "wrong-type", f"{W}.start_date"),
        (WORKFLOW, "{start_date: @@{a: b}}", "wrong-type", f"{W}.start_date"),
        (WORKFLOW, "{start_date: @@0001-01-01}", "invalid-start-date", f"{W}.start_date"),
        (WORKFLOW, "{end_date: @@9999-12-31}", "invalid-end-date", f"{W}.end_date"),
        (WORKFLOW, "{start_date: 2026-01-02, end_date: @@2026-01-01}", "invalid-end-date", f"{W}.end_date"),
        (
            WORKFLOW,
            "{start_date: 2026-01-01T00:30:00+01:00, end_date: @@2025-12-31T23:00:00Z}",
            "invalid-end-date",
            f"{W}.end_date",
        ),
        (WORKFLOW, "{catchup: @@'true'}", "wrong-type", f"{W}.catchup"),
        (WORKFLOW, "{max_active_runs: @@0}", "invalid-max-active-runs", f"{W}.max_active_runs"),
        (WORKFLOW, "{max_active_runs: @@two}", "wrong-type", f"{W}.max_active_runs"),
        (WORKFLOW, "{messages_per_run: @@0}", "invalid-messages-per-run", f"{W}.messages_per_run"),
        (WORKFLOW, "{messages_per_run: @@10001}", "invalid-messages-per-run", f"{W}.messages_per_run"),
        (WORKFLOW, "{access_control: @@[Op]}", "wrong-type", f"{W}.access_control"),
        (WORKFLOW, "{access_control: {Op: @@can_read}}", "wrong-type", f"{W}.access_control.Op"),
        (WORKFLOW, "{access_control: {Op: [@@can_fly]}}", "invalid-access-control", f"{W}.access_control.Op[0]"),
        (WORKFLOW, "{access_control: {' ': @@[can_read]}}", "invalid-access-control", f"{W}.access_control. "),
        (WORKFLOW, "{mode: @@live}", "invalid-mode", f"{W}.mode"),
        (WORKFLOW, "{mode: @@''}", "missing-field", f"{W}.mode"),
        (WORKFLOW, "{mode: @@{a: b}}", "wrong-type", f"{W}.mode"),
        (PROCESS, "{retries: @@-1}", "invalid-retries", f"{P}.retries"),
        (PROCESS, "{retries: @@2147483648}", "invalid-retries", f"{P}.retries"),
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
        (PROCESS, "{pool: @@''}", "missing-field", f"{P}.pool"),
        (PROCESS, f"{{pool: @@{'p' * 257}}}", "invalid-pool", f"{P}.pool"),
        (PROCESS, f"{{queue: @@{'q' * 257}}}", "invalid-queue", f"{P}.queue"),
        (PROCESS, "{queue: @@{a: b}}", "wrong-type", f"{P}.queue"),
        (PROCESS, f"{{executor: @@{'e' * 1001}}}", "invalid-executor", f"{P}.executor"),
        (PROCESS, "{executor: @@[a]}", "wrong-type", f"{P}.executor"),
        (PROCESS, "{priority_weight: @@1.5}", "wrong-type", f"{P}.priority_weight"),
        (PROCESS, "{priority_weight: @@2147483648}", "invalid-priority-weight", f"{P}.priority_weight"),
        (PROCESS, "{pod: @@[a]}", "wrong-type", f"{P}.pod"),
        (PROCESS, "{pod: {@@kind: Pod}}", "unknown-field", f"{P}.pod.kind"),
        (PROCESS, "{pod: {spec: {@@toleration: []}}}", "unknown-field", f"{P}.pod.spec.toleration"),
        (PROCESS, "{pod: {spec: {hostNetwork: @@3}}}", "wrong-type", f"{P}.pod.spec.hostNetwork"),
        (PROCESS, "{pod: {spec: {containers: [@@{image: i}]}}}", "missing-field", f"{P}.pod.spec.containers[0].name"),
        (PROCESS, "{pod: {spec: {containers: [@@{name: side}]}}}", "invalid-pod", f"{P}.pod.spec.containers[0]"),
        (
            PROCESS,
            "{pod: {spec: {initContainers: [{name: @@process, image: i}]}}}",
            "invalid-pod",
            f"{P}.pod.spec.initContainers[0].name",
        ),
        (
            PROCESS,
            "{pod: {spec: {containers: [{name: a, image: i}, {name: @@a, image: i}]}}}",
            "duplicate-name",
            f"{P}.pod.spec.containers[1].name",
        ),
        (PROCESS, "{pod: {spec: {ephemeralContainers: @@[]}}}", "unknown-field", f"{P}.pod.spec.ephemeralContainers"),
        (
            PROCESS,
            "{pod: {spec: {securityContext: {@@runAsNonRot: true}}}}",
            "unknown-field",
            f"{P}.pod.spec.securityContext.runAsNonRot",
        ),
        (
            PROCESS,
            "{pod: {spec: {securityContext: {runAsUser: @@root}}}}",
            "wrong-type",
            f"{P}.pod.spec.securityContext.runAsUser",
        ),
        (
            PROCESS,
            "{pod: {spec: {containers: [{name: @@P, image: i}]}}}",
            "invalid-name",
            f"{P}.pod.spec.containers[0].name",
        ),
        (
            PROCESS,
            "{pod: {spec: {initContainers: [{name: p, env: [{name: @@A=B}]}]}}}",
            "invalid-pod",
            f"{P}.pod.spec.initContainers[0].env[0].name",
        ),
        (PROCESS, "{pod: {metadata: {labels: {a: @@b c}}}}", "invalid-label", f"{P}.pod.metadata.labels.a"),
        (PROCESS, "{pod: {metadata: {annotations: {a b: @@c}}}}", "invalid-label", f"{P}.pod.metadata.annotations.a b"),
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
    assert "product, owner, tags, namespace and version_in_dag_id" in extended(krt, TOP, "{x: y}").error().remedy
    assert "Did you mean tolerations?" in extended(krt, PROCESS, "{pod: {spec: {toleration: []}}}").error().remedy
    assert "Did you mean Europe/Madrid?" in extended(krt, WORKFLOW, "{timezone: madrid}").error().remedy


def test_several_errors_of_it_are_reported_together(krt: Krt) -> None:
    changed = extended(krt, PROCESS, "{retries: x, start_timeout: 0, pol: p}")
    assert {error.code for error in changed.check().errors} == {"wrong-type", "invalid-start-timeout", "unknown-field"}


def test_a_product_name_may_have_forty_characters(krt: Krt) -> None:
    assert extended(krt, TOP, f"{{product: {'a' * 40}}}").check().require().name == "a" * 40


def test_what_is_said_of_all_dags_of_a_workflow_and_of_a_task_reaches_the_model(krt: Krt) -> None:
    full = extended(krt, TOP, "{owner: me, tags: [a, 2], namespace: ns, version_in_dag_id: yes}")
    when = "timezone: Asia/Tokyo, start_date: 2026-01-02, end_date: 2026-01-03T04:05:06Z, catchup: true"
    full = extended(
        full, WORKFLOW, f"{{{when}, max_active_runs: 3, messages_per_run: 5, access_control: {{Op: [can_edit]}}}}"
    )
    full = extended(
        full, PROCESS, "{pool: p, queue: q, executor: e, priority_weight: -1, pod: {spec: {priority: 2, hostname: 3}}}"
    )
    product = full.check().require()
    (workflow,) = product.workflows
    task = workflow.processes[1]
    assert (product.owner, product.tags, product.namespace, product.version_in_dag_id) == ("me", ("a", "2"), "ns", True)
    assert workflow.timezone == "Asia/Tokyo"
    assert str(workflow.start_date) == "2026-01-02 00:00:00"
    assert str(workflow.end_date) == "2026-01-03 04:05:06+00:00"
    assert (workflow.catchup, workflow.max_active_runs, workflow.messages_per_run) == (True, 3, 5)
    assert workflow.access_control == {"Op": ("can_edit",)}
    assert (task.pool, task.queue, task.executor, task.priority_weight) == ("p", "q", "e", -1)
    assert task.pod == {"spec": {"priority": 2, "hostname": "3"}}


def test_a_pod_is_plain_data_with_the_types_that_json_has(krt: Krt) -> None:
    context = "{runAsUser: 1000, fsGroup: 7, runAsNonRoot: true}"
    said = f"{{spec: {{securityContext: {context}, tolerations: [{{key: 1.50, operator: null}}]}}}}"
    pod = extended(krt, PROCESS, f"{{pod: {said}}}").check().require().workflows[0].processes[1].pod
    assert pod == {
        "spec": {
            "securityContext": {"runAsUser": 1000, "fsGroup": 7, "runAsNonRoot": True},
            "tolerations": [{"key": "1.50"}],
        }
    }


def test_a_secret_in_the_environment_of_a_pod_is_a_warning(krt: Krt) -> None:
    said = "{pod: {spec: {containers: [{name: process, env: [{name: DB_PASSWORD, value: hunter2}]}]}}}"
    report = extended(krt, PROCESS, said).check()
    assert [(w.code, w.location) for w in report.warnings] == [
        ("secret-in-config", f"{P}.pod.spec.containers[0].env[0].value")
    ]
    assert "hunter2" not in str(report.warnings)


def test_pods_are_those_of_the_kubernetes_client() -> None:
    """A newer client knows more: `python -m tests.krt.pod_fields` writes it down."""
    assert json.loads(pod_fields.FILE.read_text()) == pod_fields.known()


@pytest.mark.parametrize("name", pod_fields.known())
def test_each_structure_of_pods_is_read_and_refused(krt: Krt, name: str) -> None:
    """All its keys with fitting values are taken, and with a list of lists none is."""
    keys = pod_fields.known()[name]
    kind = pod_template._named(name)
    findings = Findings()
    schema.read(yaml_of({key: fitting(type_) for key, type_ in keys.items()}), PLACE, findings, kind.read)
    assert findings.errors == []
    schema.read(yaml_of({key: [["x"]] for key in keys}), PLACE, findings, kind.read)
    free = {key for key, type_ in keys.items() if type_.rstrip("!") == "object"}
    wrong = {error.location.split(".")[1].split("[")[0] for error in findings.errors if error.code == "wrong-type"}
    assert wrong == set(keys) - free


def fitting(type_: str) -> object:
    """A value of a type, with all that it must have."""
    plain = type_.rstrip("!")
    if plain.startswith("list["):
        return [fitting(plain[5:-1])]
    if plain[0].isupper() or plain.startswith("CoreV1"):
        return {key: fitting(kind) for key, kind in pod_fields.known()[plain].items() if kind.endswith("!")}
    return {"bool": True, "int": 1, "dict[str, str]": {"a": "b"}}.get(plain, "text")


def yaml_of(value: object) -> Node:
    return next(documents(json.dumps(value)))


def test_what_a_variable_is_is_text_as_it_is_written(krt: Krt) -> None:
    said = "{spec: {containers: [{name: process, env: [{name: A, value: 0644}, {name: B, value: 1.10}]}]}}"
    pod = extended(krt, PROCESS, f"{{pod: {said}}}").check().require().workflows[0].processes[1].pod
    assert pod["spec"]["containers"][0]["env"] == [{"name": "A", "value": "0644"}, {"name": "B", "value": "1.10"}]
