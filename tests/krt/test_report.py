"""Reports, issues, and the error that carries them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from kai_airflow import krt as language
from kai_airflow.errors import KaiAirflowError
from kai_airflow.krt import Issue, KrtError, check

if TYPE_CHECKING:
    from tests.krt.conftest import Krt


def test_an_issue_as_a_dict_has_its_fields_in_order() -> None:
    issue = Issue("a-code", "krt.version", 1, 2, "m", "r")
    assert list(issue.as_dict().items()) == [
        ("code", "a-code"),
        ("location", "krt.version"),
        ("line", 1),
        ("column", 2),
        ("message", "m"),
        ("remedy", "r"),
    ]


def test_require_raises_every_error_under_a_line_with_the_path(krt: Krt) -> None:
    report = krt.change("v1.0.0", "1").change("[pack]", "[pik]").check()
    with pytest.raises(KrtError) as caught:
        report.require()
    head, *lines = str(caught.value).splitlines()
    assert head == "shop/krt.yaml: 2 errors"
    assert len(lines) == 2
    assert "1:10" in lines[0]
    assert "krt.workflows[0].processes[3]" in lines[1]
    assert "Did you mean pick?" in lines[1]
    assert (caught.value.path, caught.value.errors) == (report.path, report.errors)
    assert isinstance(caught.value, KaiAirflowError)


def test_one_error_is_not_counted_as_several() -> None:
    with pytest.raises(KrtError, match=r"^a/krt.yaml: 1 error\n"):
        check(b"", PurePath("a/krt.yaml")).require()


def test_reports_products_and_errors_travel_between_processes(krt: Krt) -> None:
    report = krt.check()
    assert pickle.loads(pickle.dumps(report)) == copy.deepcopy(report) == report  # noqa: S301 - our own bytes
    error = KrtError(PurePath("a"), krt.change("v1.0.0", "1").check().errors)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(again), again.path, again.errors) == (str(error), error.path, error.errors)


def test_the_model_is_frozen(krt: Krt) -> None:
    product = krt.check().require()
    with pytest.raises(FrozenInstanceError):
        product.name = "other"  # type: ignore[misc]


def test_the_same_text_gives_the_same_report(krt: Krt) -> None:
    broken = krt.change("v1.0.0", "1").change("description: A shop", "x-airflow: {b: 1, c: 2, a: 3}")
    assert broken.check() == broken.check()
    assert krt.check().require() == krt.check().require()


def test_the_public_names() -> None:
    assert sorted(language.__all__) == [
        "Cron",
        "Every",
        "Issue",
        "KrtError",
        "MASK",
        "MAX_BYTES",
        "Networking",
        "ObjectStore",
        "Process",
        "Product",
        "Quantity",
        "Report",
        "Resources",
        "START",
        "Subscription",
        "Workflow",
        "check",
        "find",
        "is_sensitive",
        "json_schema",
        "load",
        "mask",
        "passwords",
        "shown",
    ]


def test_importing_the_language_imports_nothing_heavy() -> None:
    heavy = ("airflow", "pydantic", "croniter", "kubernetes", "nats", "google", "aiohttp", "rich", "httpx")
    program = f"import sys, kai_airflow.krt; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
