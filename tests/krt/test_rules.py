"""Every rule of section 1 of the KAI reference, with its code, KAI's location, and its place in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.krt.conftest import Krt

W = "krt.workflows[0]"
HOOK, PICK, PACK, SHIP = (f"{W}.processes[{i}]" for i in range(4))
HOOK_TEXT = """\
      - name: hook
        type: trigger
        image: hook:v1
        networking: {targetPort: 80, destinationPort: 8080}
        resourceLimits:
          CPU: {request: 100m, limit: 200m}
          memory: {request: 100M}
"""


HOOK_LIMITS = HOOK_TEXT.partition("8080}\n")[2]
CPU, MEMORY = "CPU: {request: 100m, limit: 200m}", "memory: {request: 100M}"
PORTS = "{targetPort: 80, destinationPort: 8080}"
ONE_LINE = (
    "      - {{name: {name}, type: task, image: i, subscriptions: [{heard}], "
    "resourceLimits: {{CPU: {{request: 1}}, memory: {{request: 1M}}}}}}\n"
)


class Case(NamedTuple):
    code: str
    location: str
    old: str
    new: str
    remedy: str = ""


CASES = (
    Case("missing-field", "krt.version", "version: v1.0.0\ndesc", "@@desc"),
    Case("missing-field", "krt.version", "version: v1.0.0", "version: @@null"),
    Case("invalid-version", "krt.version", "v1.0.0", "@@1.0.0", "v1.0.0"),
    Case("invalid-version", "krt.version", "v1.0.0", "@@v1.0"),
    Case("invalid-version", "krt.version", "v1.0.0", "@@v1.0.0-rc1"),
    Case("invalid-version", "krt.version", "v1.0.0", '@@"v1.0.0\\n"'),
    Case("invalid-version", "krt.version", "v1.0.0", "@@v1.0.\u0663"),  # a digit of another script is none in Go
    Case("missing-field", "krt.description", "A shop", "@@''"),
    Case("missing-field", "krt.description", "version: v1.0.0\ndescription: A shop", "@@version: v1.0.0"),
    Case("missing-field", f"{W}.name", "name: sell\n    type", "@@type"),
    Case("missing-field", f"{W}.name", "name: sell", 'name: @@""'),
    Case("invalid-name", f"{W}.name", "sell", "@@Sell", "sell"),
    Case("invalid-name", f"{W}.name", "sell", "@@my work", "my-work"),
    Case("invalid-name", f"{W}.name", "sell", "@@-sell"),
    Case("invalid-name", f"{W}.name", "sell", "@@sell-"),
    Case("invalid-name", f"{W}.name", "sell", '@@"sell\\n"'),
    Case("name-too-long", f"{W}.name", "sell", "@@" + "s" * 21, "s" * 20),
    Case("missing-field", f"{W}.type", "name: sell\n    type: training", "@@name: sell"),
    Case("invalid-workflow-type", f"{W}.type", "training", "@@trainning", "Did you mean training?"),
    Case("invalid-workflow-type", f"{W}.type", "training", "@@batch", "data, training, feedback or serving"),
    Case("missing-field", f"{SHIP}.name", "name: ship\n        type", "@@type"),
    Case("invalid-name", f"{SHIP}.name", "name: ship", "name: @@Ship"),
    Case("name-too-long", f"{SHIP}.name", "name: ship", "name: @@" + "s" * 21),
    Case("duplicate-name", f"{SHIP}.name", "name: ship", "name: @@pick", "name of its own"),
    Case("missing-field", f"{PACK}.type", "name: pack\n        type: task", "@@name: pack"),
    Case("invalid-process-type", f"{PACK}.type", "pack\n        type: task", "pack\n        type: @@Task", "task?"),
    Case("missing-field", f"{PICK}.image", "image: pick:v1", "image: @@~"),
    Case("missing-field", f"{PICK}.image", "pick:v1", "@@''"),
    Case("missing-field", f"{PICK}.objectStore.name", "{name: goods, scope", "@@{scope"),
    Case("invalid-name", f"{PICK}.objectStore.name", "goods", "@@Goods"),
    Case("name-too-long", f"{PICK}.objectStore.name", "goods", "@@" + "g" * 21),
    Case("missing-field", f"{PICK}.objectStore.scope", "{name: goods, scope: workflow}", "@@{name: goods}"),
    Case("invalid-scope", f"{PICK}.objectStore.scope", "scope: workflow", "scope: @@version", "product or workflow"),
    Case("missing-field", f"{SHIP}.subscriptions", "        subscriptions: [pack]\n", "        subscriptions:@@\n"),
    Case("duplicate-subscription", f"{SHIP}.subscriptions.pack", "[pack]", "[pack, @@pack]"),
    Case("duplicate-subscription", f"{PACK}.subscriptions.pick.small", "[pick.small]", "[pick.small, @@pick.small]"),
    Case("self-subscription", f"{PICK}.subscriptions.pick", "[hook]", "[hook, @@pick]"),
    Case("self-subscription", f"{PICK}.subscriptions.pick.go", "[hook]", "[hook, @@pick.go]"),
    Case("unknown-process", SHIP, "[pack]", "[pack, @@pik]", "Did you mean pick?"),
    Case("unknown-process", SHIP, "[pack]", "[pack, @@somewhere.else]", "hook, pick or pack"),
    Case("unknown-process", SHIP, "[pack]", "[pack, @@'']", "hook, pick or pack"),
    Case("forbidden-subscription", f"{PICK}.subscriptions.ship", "[hook]", "[hook, @@ship]", "task: hook or pack"),
    Case("forbidden-subscription", f"{PICK}.subscriptions.ship.go", "[hook]", "[hook, @@ship.go]"),
    Case("forbidden-subscription", f"{HOOK}.subscriptions.pick", PORTS, f"{PORTS}\n        subscriptions: [@@pick]"),
    Case("invalid-channel", f"{PACK}.subscriptions.pick.", "[pick.small]", "[@@pick.]"),
    Case("invalid-channel", f"{PACK}.subscriptions.pick.*", "[pick.small]", "[@@'pick.*']"),
    Case("invalid-channel", f"{PACK}.subscriptions.pick.a b", "[pick.small]", "[@@pick.a b]"),
    Case("missing-field", f"{HOOK}.networking.targetPort", "{targetPort: 80, dest", "@@{dest"),
    Case("missing-field", f"{HOOK}.networking.destinationPort", PORTS, "@@{targetPort: 80}"),
    Case("missing-field", f"{HOOK}.networking.targetPort", "targetPort: 80", "targetPort: @@0"),
    Case("invalid-protocol", f"{HOOK}.networking.protocol", "8080}", "8080, protocol: @@TCP}", "HTTP or GRPC"),
    Case("missing-field", f"{HOOK}.resourceLimits", HOOK_LIMITS, "        resourceLimits: @@~\n"),
    Case("missing-field", f"{HOOK}.resourceLimits.CPU", f"{CPU}\n          ", "@@"),
    Case("missing-field", f"{HOOK}.resourceLimits.memory", f"{CPU}\n          {MEMORY}", "@@CPU: {request: 100m}"),
    Case("missing-field", f"{HOOK}.resourceLimits.CPU.request", "{request: 100m, limit: 200m}", "@@{limit: 200m}"),
    Case("missing-field", f"{HOOK}.resourceLimits.memory.request", "{request: 100M}", "@@{}"),
    Case("invalid-quantity", f"{HOOK}.resourceLimits.CPU.request", "100m, limit", "@@much, limit", "500m, 0.5 or 2"),
    Case("invalid-quantity", f"{HOOK}.resourceLimits.CPU.limit", "200m", "@@-1"),
    Case("invalid-quantity", f"{HOOK}.resourceLimits.memory.request", "100M", "@@100MB", "200M, 1.5Gi"),
    Case("limit-below-request", f"{HOOK}.resourceLimits.CPU", "limit: 200m", "limit: @@0.05"),
    Case("limit-below-request", f"{PICK}.resourceLimits.memory", "limit: 2Gi", "limit: @@1G"),
    Case("invalid-label", f"{PICK}.nodeSelectors", "{disk: ssd}", "{disk: @@a b}"),
    Case("invalid-label", f"{PICK}.nodeSelectors", "{disk: ssd}", "{disk: @@" + "a" * 64 + "}"),
    Case("invalid-label", f"{PICK}.nodeSelectors", "{disk: ssd}", "{-disk: @@ssd}"),
    Case("invalid-label", f"{PICK}.nodeSelectors", "{disk: ssd}", "{Bad_Prefix/disk: @@ssd}"),
    Case("invalid-label", f"{PICK}.nodeSelectors", "{disk: ssd}", "{/disk: @@ssd}"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.location}-{case.new[:20]}")
def test_each_broken_rule_is_the_one_error_at_its_place(krt: Krt, case: Case) -> None:
    changed = krt.change(case.old, case.new)
    error = changed.error()
    assert (error.code, error.location) == (case.code, case.location)
    assert (error.line, error.column) == (changed.line, changed.column)
    assert case.remedy in error.remedy
    assert error.message
    assert changed.check().product is None


@pytest.mark.parametrize("workflows", ["@@[]", "@@~"])
def test_a_product_has_a_workflow(krt: Krt, workflows: str) -> None:
    head, _, _ = krt.text.partition("workflows:")
    changed = type(krt)(head + "workflows: here\n").change("here", workflows)
    error = changed.error()
    assert (error.code, error.location) == ("missing-field", "krt.workflows")
    assert (error.line, error.column) == (changed.line, changed.column)


def test_a_workflow_has_a_process(krt: Krt) -> None:
    head, _, _ = krt.text.partition("    processes:")
    error = type(krt)(head + "    processes: []\n").error()
    assert (error.code, error.location) == ("missing-field", f"{W}.processes")
    assert (error.line, error.column) == (6, 16)


def test_workflow_names_are_unique(krt: Krt) -> None:
    again = krt.text.partition("workflows:\n")[2]
    error = type(krt)(krt.text + again).error()
    assert (error.code, error.location, error.line) == ("duplicate-name", "krt.workflows[1].name", 37)
    assert "line 4" in error.message


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        (HOOK_TEXT, "", "trigger"),
        ("type: exit", "type: task", "exit"),
    ],
)
def test_a_workflow_has_a_trigger_and_an_exit(krt: Krt, old: str, new: str, lacking: str) -> None:
    errors = krt.change(old, new).check().errors
    found = [error for error in errors if error.code == "not-enough-processes"]
    assert [(error.location, error.line, error.column) for error in found] == [(f"{W}.processes", 7, 7)]
    assert lacking in found[0].message
    assert f"type: {lacking}" in found[0].remedy


def test_a_trigger_may_subscribe_to_exits_alone(krt: Krt) -> None:
    assert krt.change("image: hook:v1", "image: hook:v1\n        subscriptions: [ship, ship.late]").check().valid


def test_a_channel_may_hold_dots(krt: Krt) -> None:
    product = krt.change("pick.small", "pick.features.hot.new").check().require()
    (subscription,) = product.workflows[0].processes[2].subscriptions
    assert (subscription.process, subscription.channel) == ("pick", "features.hot.new")
    assert subscription.text == "pick.features.hot.new"


def test_one_process_may_be_heard_on_several_channels(krt: Krt) -> None:
    assert krt.change("[pick.small]", "[pick, pick.small, pick.large]").check().valid


@pytest.mark.parametrize("label", ["''", "a", "A_b-c.9", "true", "a" * 63])
def test_values_that_kubernetes_takes_as_labels_are_taken(krt: Krt, label: str) -> None:
    assert krt.change("{disk: ssd}", f"{{example.com/disk: {label}}}").check().valid


def test_all_errors_of_a_file_are_reported_together_in_the_order_of_the_text(krt: Krt) -> None:
    changed = (
        krt.change("v1.0.0", "1")
        .change("training", "[a]")
        .change("targetPort: 80,", "targetPort: eighty,")
        .change("image: pick:v1", "image: {a: b}")
        .change("[hook]", "[hok, {}]")
        .change("[pack]", "[pack, pack]")
    )
    assert [(error.line, error.code) for error in changed.check().errors] == [
        (1, "invalid-version"),
        (5, "wrong-type"),
        (10, "wrong-type"),
        (16, "wrong-type"),
        (22, "unknown-process"),
        (22, "wrong-type"),
        (36, "duplicate-subscription"),
    ]


def test_errors_in_one_workflow_do_not_hide_those_in_another(krt: Krt) -> None:
    again = krt.text.partition("workflows:\n")[2].replace("sell", "sell-2").replace("[hook]", "[book]")
    errors = type(krt)(krt.text.replace("[hook]", "7") + again).check().errors
    assert [error.location for error in errors] == [f"{PICK}.subscriptions", "krt.workflows[1].processes[1]"]


def test_a_cycle_between_tasks_is_an_error_in_batch_mode_with_the_way_out(krt: Krt) -> None:
    changed = krt.change("[hook]", "[hook, @@pack.again]")
    error = changed.error()
    assert (error.code, error.location) == ("cycle", f"{W}.processes")
    assert (error.line, error.column) == (changed.line, changed.column)
    assert "pack -> pick -> pack" in error.message or "pick -> pack -> pick" in error.message
    assert "mode: stream" in error.remedy


def test_a_cycle_names_its_tasks_in_the_way_that_messages_go(krt: Krt) -> None:
    third = ONE_LINE.format(name="weigh", heard="pack")
    changed = type(krt)(krt.text + third).change("[hook]", "[hook, weigh]")
    way = changed.error().message
    assert any(cycle in way for cycle in ("pick -> pack -> weigh", "pack -> weigh -> pick", "weigh -> pick -> pack"))


def test_each_of_two_separate_cycles_is_reported(krt: Krt) -> None:
    more = ONE_LINE.format(name="a", heard="b") + ONE_LINE.format(name="b", heard="a")
    errors = type(krt)(krt.text + more).change("[hook]", "[pack]").check().errors
    assert [error.code for error in errors] == ["cycle", "cycle"]


@pytest.mark.parametrize(
    ("kind", "valid"), [("data", False), ("training", False), ("feedback", True), ("serving", True)]
)
def test_cycles_are_allowed_where_a_workflow_streams(krt: Krt, kind: str, valid: bool) -> None:
    assert krt.change("training", kind).change("[hook]", "[hook, pack]").check().valid is valid


def test_mode_stream_allows_a_cycle_and_mode_batch_forbids_it(krt: Krt) -> None:
    cyclic = krt.change("[hook]", "[hook, pack]")
    assert cyclic.change("type: training", "type: training\n    x-airflow: {mode: stream}").check().valid
    batch = cyclic.change("type: training", "type: serving\n    x-airflow: {mode: batch}")
    assert batch.error().code == "cycle"


def test_a_reply_from_exit_to_trigger_is_no_cycle(krt: Krt) -> None:
    assert krt.change("image: hook:v1", "image: hook:v1\n        subscriptions: [ship]").check().valid


def test_a_task_that_subscribes_to_nothing_is_a_warning(krt: Krt) -> None:
    report = krt.change("[pick.small]", "[]").change("[pack]", "[pack, pick.small]").check()
    assert report.valid
    assert [(w.code, w.location, w.line, w.column) for w in report.warnings] == [
        ("no-subscriptions", f"{PACK}.subscriptions", 29, 24)
    ]


def test_a_process_that_no_message_reaches_is_a_warning(krt: Krt) -> None:
    lost = ONE_LINE.format(name="lost", heard="pack.x")
    report = type(krt)(krt.text + lost).change("[hook]", "[]").change("[pack]", "[pack, lost, hook]").check()
    assert report.valid
    assert [(w.code, w.location, w.line) for w in report.warnings] == [
        ("no-subscriptions", f"{PICK}.subscriptions", 22),
        ("unreachable-process", f"{PACK}.subscriptions", 29),
        ("unreachable-process", f"{W}.processes[4].subscriptions", 37),
    ]


def test_messages_of_a_task_that_nobody_takes_are_a_warning(krt: Krt) -> None:
    report = type(krt)(krt.text + ONE_LINE.format(name="spare", heard="hook")).check()
    assert report.valid
    assert [(w.code, w.location, w.line) for w in report.warnings] == [
        ("unread-messages", f"{W}.processes[4].name", 37)
    ]


def test_messages_of_a_trigger_that_nobody_takes_are_a_warning(krt: Krt) -> None:
    report = type(krt)(krt.text + HOOK_TEXT.replace("hook", "bell")).check()
    assert report.valid
    assert [(w.code, w.location, w.line) for w in report.warnings] == [
        ("unread-messages", f"{W}.processes[4].name", 37)
    ]


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_replicas_are_a_warning_and_count_as_one_because_kai_takes_any_number(krt: Krt, count: str) -> None:
    report = krt.change("image: pick:v1", f"replicas: {count}\n        image: pick:v1").check()
    assert [(w.code, w.location) for w in report.warnings] == [("invalid-replicas", f"{PICK}.replicas")]
    assert report.require().workflows[0].processes[1].replicas == 1


def test_a_port_beyond_65535_is_a_warning_because_kai_takes_any_number(krt: Krt) -> None:
    report = krt.change("8080", "65536").check()
    assert [(w.code, w.location) for w in report.warnings] == [("invalid-port", f"{HOOK}.networking.destinationPort")]
    assert report.valid


def test_memory_of_less_than_a_byte_is_a_warning(krt: Krt) -> None:
    report = krt.change("memory: {request: 100M}", "memory: {request: 400m}").check()
    assert report.valid
    assert [(w.code, w.location) for w in report.warnings] == [
        ("fractional-memory", f"{HOOK}.resourceLimits.memory.request")
    ]


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("description: A shop", "description: A shop\nDescription: B", "description"),
        ("        objectStore", "        objectstore: {}\n        objectStore", "objectStore"),
        ("        nodeSelectors", "        nodeSelector: {}\n        nodeSelectors", "nodeSelectors"),
        ("description: A shop", "description: A shop\nx_airflow: {}", "x-airflow"),
        ("description: A shop", "description: A shop\nx-airlfow: {}", "x-airflow"),
    ],
)
def test_an_unknown_key_that_resembles_a_known_one_is_a_warning(krt: Krt, old: str, new: str, meant: str) -> None:
    report = krt.change(old, new).check()
    assert report.valid
    (warning,) = report.warnings
    assert warning.code == "unknown-key"
    assert warning.remedy == f"Did you mean {meant}?"


def test_other_unknown_keys_are_ignored_as_kai_ignores_them_and_a_warning(krt: Krt) -> None:
    changed = krt.change("description: A shop", "description: A shop\nnotes: @@ok")
    report = changed.check()
    assert report.valid
    (warning,) = report.warnings
    assert (warning.code, warning.location) == ("unknown-key", "krt.notes")
    assert (warning.line, warning.column) == (changed.line, changed.column)


@pytest.mark.parametrize("key", ["x-team", "x-name", "x-config", "x-description", ".base", ".version", "x-", "."])
def test_keys_that_begin_like_those_of_others_are_no_misspelt_ones(krt: Krt, key: str) -> None:
    report = krt.change("description: A shop", f"description: A shop\n{key}: {{a: [1, {{b: c}}]}}").check()
    assert (report.valid, report.warnings) == (True, ())
