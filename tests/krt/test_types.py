"""What a value may be: text as written, numbers and booleans without quotes, null as absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kai_airflow.krt import Process
    from tests.krt.conftest import Krt


def pick(krt: Krt) -> Process:
    """The process that the tests change."""
    return krt.check().require().workflows[0].processes[1]


def with_field(krt: Krt, field: str) -> Krt:
    return krt.change("image: pick:v1", f"image: pick:v1\n        {field}")


@pytest.mark.parametrize(
    "written",
    [
        "1.50",
        "100",
        "true",
        "Yes",
        "0x1F",
        "0o17",
        "1_000",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "1e3",
        ".inf",
        "-0",
        "12:30:45",
        "=",
    ],
)
def test_scalars_of_any_kind_are_taken_as_written_where_text_is_expected(krt: Krt, written: str) -> None:
    process = pick(with_field(krt, f"config: {{key: {written}}}"))
    assert process.config == {"key": written}


@pytest.mark.parametrize("written", ["0.5", "1", "100m"])
def test_a_quantity_is_the_text_as_written(krt: Krt, written: str) -> None:
    process = pick(krt.change("{request: 0.5}", f"{{request: {written}}}"))
    assert process.resources.cpu.request == process.resources.cpu.limit == written


def test_keys_of_a_map_of_text_are_taken_as_written_too(krt: Krt) -> None:
    process = pick(with_field(krt, "config: {1.50: a, true: b, 2001-01-01: c}"))
    assert process.config == {"1.50": "a", "true": "b", "2001-01-01": "c"}


def test_quotes_blocks_and_tags_make_text(krt: Krt) -> None:
    process = pick(with_field(krt, "config: {a: 'null', b: \"\", c: !!str 1.50, d: ! yes, e: !!int 07}"))
    assert process.config == {"a": "null", "b": "", "c": "1.50", "d": "yes", "e": "07"}


@pytest.mark.parametrize("null", ["", "~", "null", "Null", "NULL", "!!null ''"])
def test_null_stands_for_an_absent_value(krt: Krt, null: str) -> None:
    fields = ("replicas", "gpu", "config", "secrets", "networking", "x-airflow")
    process = pick(
        with_field(krt, "\n        ".join(f"{field}: {null}" for field in fields))
        .change("{name: goods, scope: workflow}", null)
        .change("{disk: ssd}", null)
    )
    assert (process.replicas, process.gpu, process.config, process.secrets) == (1, False, {}, ())
    assert (process.networking, process.object_store, process.node_selectors) == (None, None, {})


def test_null_inside_a_map_or_list_is_absent_there(krt: Krt) -> None:
    process = pick(with_field(krt, "config: {a: , b: x}\n        secrets: [~, s]"))
    assert process.config == {"b": "x"}
    assert process.secrets == ("s",)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", 3),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("1_0", 10),
        ("+2", 2),
        ("2.0", 2),
        ("!!int '4'", 4),
    ],
)
def test_whole_numbers_in_the_forms_of_yaml(krt: Krt, written: str, value: int) -> None:
    assert pick(with_field(krt, f"replicas: {written}")).replicas == value


@pytest.mark.parametrize(
    "written",
    ["two", "'2'", '"2"', "1.5", "true", "[2]", "{a: 2}", "2001-01-01", "|\n          2", "9" * 19, ".nan", "!!str 2"],
)
def test_text_and_the_like_are_no_whole_number(krt: Krt, written: str) -> None:
    changed = with_field(krt, f"replicas: @@{written}")
    error = changed.error()
    assert (error.code, error.location) == ("wrong-type", "krt.workflows[0].processes[1].replicas")
    assert (error.line, error.column) == (changed.line, changed.column)
    assert "a whole number" in error.message


def test_an_integer_of_a_million_digits_is_an_error_and_not_a_crash(krt: Krt) -> None:
    error = with_field(krt, "replicas: " + "9" * 1_000_000).error()
    assert error.code == "wrong-type"
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("written", "value"),
    [("true", True), ("True", True), ("yes", True), ("on", True), ("FALSE", False), ("no", False), ("off", False)],
)
def test_booleans_in_the_forms_that_kai_reads(krt: Krt, written: str, value: bool) -> None:
    assert pick(with_field(krt, f"gpu: {written}")).gpu is value


@pytest.mark.parametrize("written", ["'true'", "1", "maybe", "[true]", "{}"])
def test_text_and_numbers_are_no_boolean(krt: Krt, written: str) -> None:
    changed = with_field(krt, f"gpu: @@{written}")
    error = changed.error()
    assert (error.code, error.location) == ("wrong-type", "krt.workflows[0].processes[1].gpu")
    assert (error.line, error.column) == (changed.line, changed.column)


@pytest.mark.parametrize(
    ("old", "new", "location"),
    [
        ("v1.0.0", "@@[v1]", "krt.version"),
        ("A shop", "@@{a: shop}", "krt.description"),
        ("description: A shop", "description: A shop\nconfig: @@[a]", "krt.config"),
        ("description: A shop", "description: A shop\nconfig: @@text", "krt.config"),
        ("description: A shop", "description: A shop\nconfig: {a: @@[b]}", "krt.config.a"),
        ("sell", "@@{}", "krt.workflows[0].name"),
        ("image: pick:v1", "image: pick:v1\n        secrets: @@one", "krt.workflows[0].processes[1].secrets"),
        ("image: pick:v1", "image: pick:v1\n        secrets: [a, @@[b]]", "krt.workflows[0].processes[1].secrets[1]"),
        ("[hook]", "@@hook", "krt.workflows[0].processes[1].subscriptions"),
        ("[hook]", "[hook, @@{a: b}]", "krt.workflows[0].processes[1].subscriptions[1]"),
        ("{name: goods, scope: workflow}", "@@goods", "krt.workflows[0].processes[1].objectStore"),
        ("{targetPort: 80, destinationPort: 8080}", "@@80", "krt.workflows[0].processes[0].networking"),
        ("targetPort: 80", "targetPort: @@'80'", "krt.workflows[0].processes[0].networking.targetPort"),
        ("{request: 0.5}", "@@0.5", "krt.workflows[0].processes[1].resourceLimits.CPU"),
        ("{request: 0.5}", "{request: @@[0.5]}", "krt.workflows[0].processes[1].resourceLimits.CPU.request"),
        ("{disk: ssd}", "{disk: @@{a: b}}", "krt.workflows[0].processes[1].nodeSelectors.disk"),
    ],
)
def test_a_wrong_type_is_an_error_at_its_value_and_the_only_one(krt: Krt, old: str, new: str, location: str) -> None:
    changed = krt.change(old, new)
    error = changed.error()
    assert (error.code, error.location) == ("wrong-type", location)
    assert (error.line, error.column) == (changed.line, changed.column)


@pytest.mark.parametrize(
    ("text", "found"), [("just text", "text"), ("[a]", "a list"), ("7", "a number"), ("true", "true or false")]
)
def test_a_document_that_is_no_map_is_an_error(krt: Krt, text: str, found: str) -> None:
    error = type(krt)(text).error()
    assert (error.code, error.location, error.line, error.column) == ("wrong-type", "krt", 1, 1)
    assert found in error.message


def test_templates_are_text_like_any_other(krt: Krt) -> None:
    text = "{{ var.value.x }}"
    process = pick(with_field(krt, f"config: {{'{text}': '{text}'}}"))
    assert process.config == {text: text}
