"""Quantities: every form of KAI's and of Kubernetes', compared by value."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from kai_airflow.krt.quantities import amount

if TYPE_CHECKING:
    from tests.krt.conftest import Krt


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("0.5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        (".5", Fraction(1, 2)),
        ("100m", Fraction(1, 10)),
        ("50m", Fraction(1, 20)),
        ("1500m", Fraction(3, 2)),
        ("1000000", Fraction(10**6)),
        ("1e3", Fraction(1000)),
        ("1E-1", Fraction(1, 10)),
        ("1k", Fraction(1000)),
        ("2M", Fraction(2 * 10**6)),
        ("1.5Gi", Fraction(3 * 2**29)),
        *((f"1{unit}", Fraction(1000**power)) for power, unit in enumerate("MGTPE", start=2)),
        *((f"1{unit}i", Fraction(1024**power)) for power, unit in enumerate("KMGTPE", start=1)),
    ],
)
def test_the_value_of_each_form(text: str, value: Fraction) -> None:
    assert amount(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "m", ".", "-1", "1 M", "1MB", "1K", "1mi", "1Gib", "0x1F", "1_000", "much", "1e999999999", "9" * 31, "\u0661"],
)
def test_what_is_no_quantity(text: str) -> None:
    assert amount(text) is None


@pytest.mark.parametrize(
    ("request_", "limit", "valid"),
    [("1000m", "1", True), ("1001m", "1", False), ("0.5", "500m", True), ("0.1", "99m", False), ("2", "10", True)],
)
def test_cpu_limits_are_compared_by_value(krt: Krt, request_: str, limit: str, valid: bool) -> None:
    changed = krt.change("{request: 0.5}", f"{{request: {request_}, limit: {limit}}}")
    assert changed.check().valid is valid


@pytest.mark.parametrize(
    ("request_", "limit", "valid"),
    [
        ("1G", "1Gi", True),
        ("1Gi", "1G", False),
        ("1024Ki", "1Mi", True),
        ("1000001", "1M", False),
        ("900M", "1.5Gi", True),
    ],
)
def test_memory_limits_are_compared_by_value(krt: Krt, request_: str, limit: str, valid: bool) -> None:
    changed = krt.change("memory: {request: 100M}", f"memory: {{request: {request_}, limit: {limit}}}")
    assert changed.check().valid is valid


def test_a_missing_limit_takes_the_requests_value(krt: Krt) -> None:
    hook = krt.check().require().workflows[0].processes[0]
    assert (hook.resources.memory.request, hook.resources.memory.limit) == ("100M", "100M")
    assert (hook.resources.cpu.request, hook.resources.cpu.limit) == ("100m", "200m")
