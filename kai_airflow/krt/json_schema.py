"""krt.yaml as a JSON Schema, made of the drafts' keys: what editors check and explain while a KRT is written.

A schema sees one value at a time, so it holds no rule that compares two: names that are taken, subscriptions to
processes that there are, limits below requests. What it refuses the validator refuses, too, where its reader takes the
same values for numbers and booleans: ``yes`` is true to KAI, and text to YAML 1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kai_airflow.krt import pod_template
from kai_airflow.krt.draft import NetworkingDraft, ProcessDraft, ProductDraft, WorkflowDraft
from kai_airflow.krt.schema import definition, keys_of, nullable

if TYPE_CHECKING:
    from kai_airflow.krt.schema import Key

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest that the usual language servers for YAML read."""


def json_schema() -> dict[str, Any]:
    """The schema, as JSON has it."""
    definitions: dict[str, Any] = {}
    _define(ProductDraft, definitions, closed=False)
    whole = definitions.pop(definition(ProductDraft))
    definitions |= pod_template.definitions()
    title = {"$schema": DIALECT, "title": "KRT", "description": "A version of a product of Konstellation KAI."}
    return {**title, **whole, "definitions": dict(sorted(definitions.items()))}


def _define(draft: type, definitions: dict[str, Any], *, closed: bool) -> None:
    """Put a draft, and all that it is made of, among the definitions."""
    keys = keys_of(draft)
    definitions[definition(draft)] = {
        "type": "object",
        "properties": {key.name: _property(key) for key in keys.values()},
        **_required([key.name for key in keys.values() if key.required]),
        **({"additionalProperties": False} if closed else {}),
        **_CONDITIONS.get(draft, {}),
    }
    for key in keys.values():
        if key.kind.draft and definition(key.kind.draft) not in definitions:
            _define(key.kind.draft, definitions, closed=key.kind.closed)


def _required(names: list[str]) -> dict[str, Any]:
    return {"required": names} if names else {}


def _property(key: Key[object]) -> dict[str, Any]:
    schema = {**key.kind.json, **(key.bounds or {})}
    if not key.required:
        schema = nullable(schema)
    # Draft 7 ignores what stands beside a reference.
    return {"description": key.about, **({"allOf": [schema]} if "$ref" in schema else schema)}


def _holds(kind: str) -> dict[str, Any]:
    return {"contains": {"properties": {"type": {"const": kind}}, "required": ["type"]}}


_IS_FED = {"properties": {"type": {"enum": ["task", "exit"]}}, "required": ["type"]}
_LISTED = {"subscriptions": {"type": "array"}}
_PORT = {"not": {"const": 0}}
_CONDITIONS: dict[type, dict[str, Any]] = {
    ProcessDraft: {
        "if": _IS_FED,
        "then": {"required": ["subscriptions"], "properties": {"subscriptions": {"type": "array"}}},
    },
    WorkflowDraft: {"allOf": [{"properties": {"processes": _holds(kind)}} for kind in ("trigger", "exit")]},
    NetworkingDraft: {"allOf": [{"properties": {name: _PORT}} for name in ("targetPort", "destinationPort")]},
}
"""What depends on another value of the same map."""
