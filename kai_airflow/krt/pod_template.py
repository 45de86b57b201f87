"""``x-airflow.pod``: a pod as Kubernetes writes it, of which a KRT gives what it has no words for itself.

Its keys and their types are Kubernetes' own, to the last one, from ``pod_fields.json``: each structure by its name in
the Kubernetes client (API 1.36), each key with its type, and ``!`` behind one that must be there. Whoever reads a pod
later drops what it doesn't know, so a misspelt ``runAsNonRoot`` would be gone without a word.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from kai_airflow.krt.schema import Kind, Table, anything, boolean, each, integer, table_of, text, texts

_SIMPLE: dict[str, Kind[Any]] = {
    "bool": boolean,
    "datetime": text,
    "dict[str, str]": texts,
    "int": integer,
    "object": anything,  # a number or a text
    "str": text,
}
_LIST = re.compile(r"list\[(.*)\]")
_WHAT = "this part of x-airflow.pod"
_GIVEN = frozenset({("V1PodSpec", "containers")})
"""What must be there, and is, without a template."""


def definitions() -> dict[str, Any]:
    """The JSON Schema of each structure, by its name."""
    return {name: _structure(name).json for name in _structures()}


@cache
def _structures() -> dict[str, dict[str, str]]:
    """Read when a KRT has such a template."""
    found: dict[str, dict[str, str]] = json.loads(files(__package__).joinpath("pod_fields.json").read_bytes())
    return found


@cache
def _structure(name: str) -> Kind[Table[Any]]:
    keys = _structures()[name]
    required = [key for key, type_ in keys.items() if type_.endswith("!") and (name, key) not in _GIVEN]
    return table_of(_WHAT, {key: _kind(type_.removesuffix("!")) for key, type_ in keys.items()}, required)


def _kind(type_: str) -> Kind[Any]:
    if found := _LIST.fullmatch(type_):
        return each(_kind(found[1]))
    return _SIMPLE[type_] if type_ in _SIMPLE else _named(type_)


def _named(name: str) -> Kind[Table[Any]]:
    return Kind(
        lambda node, place, findings: _structure(name).read(node, place, findings), {"$ref": f"#/definitions/{name}"}
    )


_METADATA = table_of("the metadata of x-airflow.pod", {"annotations": texts, "labels": texts})

pod_template: Kind[Table[Any]] = table_of("x-airflow.pod", {"metadata": _METADATA, "spec": _named("V1PodSpec")})
"""``{metadata: {labels, annotations}, spec: ...}``."""
