"""The product's name: what the KRT says, else its file, else its folder (design, section 2)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kai_airflow.krt.forms import LONGEST_PRODUCT
from kai_airflow.krt.place import Field, Findings, Place
from kai_airflow.krt.rules.common import bad_name, missing

if TYPE_CHECKING:
    from pathlib import PurePath

    from kai_airflow.krt.draft import ProductDraft

FILE = "krt.yaml"
SUFFIX = f".{FILE}"
DEFAULT = "default"
_FIELD = "x-airflow.product"
_PLACE = Place(f"krt.{_FIELD}", None, None)


def product_name(draft: ProductDraft, path: PurePath, findings: Findings) -> str:
    """The name; what is wrong with it goes to the findings. ``path`` is relative to the dags folder."""
    said = draft.extension.value.product if draft.extension.value else None
    if said and not said.absent:
        return _said(said, findings)
    if path.name.endswith(SUFFIX):
        return _derived(path.name.removesuffix(SUFFIX), "file", findings)
    if path.parent.name:
        return _derived(path.parent.name, "folder", findings)
    message = f"the file lies at the root, so the product is named {DEFAULT!r}"
    remedy = f"Move the file to a folder with the product's name, or set {_FIELD}."
    findings.warning(_PLACE.issue("default-product", message, remedy))
    return DEFAULT


def _said(field: Field[str], findings: Findings) -> str:
    for issue in missing(field, "Name the product, or remove the field."):
        findings.error(issue)
    if field.value:
        for issue in bad_name(field, "the product's name", LONGEST_PRODUCT):
            findings.error(issue)
    return field.value or ""


def _derived(name: str, source: str, findings: Findings) -> str:
    for issue in bad_name(Field(_PLACE, name), f"the product's name, taken from the {source},", LONGEST_PRODUCT):
        remedy = f"Rename the {source}, or set {_FIELD} to a name of lower case letters, digits and dashes."
        findings.error(dataclasses.replace(issue, code="invalid-product-name", remedy=remedy))
    return name
