"""The product's name: x-airflow.product, else the file's, else the folder's (design, section 2)."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.krt.conftest import Krt


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("shop/krt.yaml", "shop"),
        ("a/b/corner-shop/krt.yaml", "corner-shop"),
        ("shop/other.krt.yaml", "other"),
        ("other.krt.yaml", "other"),
        ("/srv/dags/shop/krt.yaml", "shop"),
        ("shop/any-file.yaml", "shop"),
    ],
)
def test_the_path_names_the_product(krt: Krt, path: str, name: str) -> None:
    report = krt.check(PurePosixPath(path))
    assert report.require().name == name
    assert report.warnings == ()


@pytest.mark.parametrize("path", ["krt.yaml", "./krt.yaml", "/krt.yaml"])
def test_at_the_root_it_is_default_with_a_warning(krt: Krt, path: str) -> None:
    report = krt.check(PurePosixPath(path))
    assert report.require().name == "default"
    assert [(w.code, w.location) for w in report.warnings] == [("default-product", "krt.x-airflow.product")]
    assert "x-airflow.product" in report.warnings[0].remedy


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        ("My Shop/krt.yaml", "folder"),
        ("shop/My_Shop.krt.yaml", "file"),
        ("shop/a.b.krt.yaml", "file"),
        ("shop/.krt.yaml", "file"),
        ("../krt.yaml", "folder"),
        (f"{'a' * 41}/krt.yaml", "folder"),
        ("sh\udcffop/krt.yaml", "folder"),
    ],
)
def test_an_unusable_name_says_to_rename_or_to_set_the_field(krt: Krt, path: str, renamed: str) -> None:
    report = krt.check(PurePosixPath(path))
    (error,) = report.errors
    assert (error.code, error.location) == ("invalid-product-name", "krt.x-airflow.product")
    assert f"Rename the {renamed}, or set x-airflow.product" in error.remedy
    assert str(error).isprintable()


def test_the_field_wins_over_an_unusable_path(krt: Krt) -> None:
    named = krt.change("description: A shop", "description: A shop\nx-airflow: {product: shop-2}")
    assert named.check(PurePath("My Shop/krt.yaml")).require().name == "shop-2"
