"""The rules of ``x-airflow.pod`` that Kubernetes would hold against the pod only when a task launches it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kai_airflow.krt import forms
from kai_airflow.krt.rules import common
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import ProcessDraft
    from kai_airflow.krt.place import Field, Place
    from kai_airflow.krt.report import Issue
    from kai_airflow.krt.schema import Table

_VARIABLE = re.compile(r"[\x20-\x3c\x3e-\x7e]+")  # printable ASCII but for the equals sign


def metadata(draft: ProcessDraft) -> Iterator[Issue]:
    """Labels and annotations that Kubernetes takes."""
    for name in ("labels", "annotations"):
        field: Field[Table[str]] | None = _member(_member(_pod(draft), "metadata"), name)
        for key, value in field.value.fields.items() if field and field.value else ():
            yield from common.label(key, value if name == "labels" else None, value.place)


def containers(draft: ProcessDraft) -> Iterator[Issue]:
    """By its name a container adds to the process's own, or stands beside it."""
    for container in _containers(draft):
        field = _member(container, "name")
        if field is None or field.absent:
            remedy = "Name it 'process' to add to the process's own container, or give one beside it another name."
            yield container.place.issue("invalid-pod", "a container of the pod has no name", remedy)
        elif field.value is not None:
            yield from common.bad_name(field, "the container's name", forms.LONGEST_LABEL)


def environment(draft: ProcessDraft) -> Iterator[Issue]:
    """Names that Kubernetes takes for variables."""
    for place, variable in variables(draft):
        name = variable.get("name") if isinstance(variable, dict) else None
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            shown = quoted(name) if isinstance(name, str) else "nothing"
            message = f"an environment variable is named {shown}, which Kubernetes doesn't take"
            remedy = "Write '- name: NAME' with printable ASCII but '=', and 'value:' or 'valueFrom:' beside it."
            yield place.issue("invalid-pod", message, remedy)


def variables(draft: ProcessDraft) -> Iterator[tuple[Place, Any]]:
    """The entries of each container's environment, whatever they are, and where that stands."""
    for container in _containers(draft):
        field = _member(container, "env")
        yield from ((field.place, variable) for variable in (field.value or ())) if field else ()


def _containers(draft: ProcessDraft) -> Iterator[Field[Table[Any]]]:
    spec = _member(_pod(draft), "spec")
    for kind in ("containers", "initContainers"):
        field = _member(spec, kind)
        yield from (one for one in field.value or () if one.value is not None) if field else ()


def _pod(draft: ProcessDraft) -> Field[Table[Any]] | None:
    return draft.extension.value.pod if draft.extension.value else None


def _member(field: Field[Table[Any]] | None, name: str) -> Field[Any] | None:
    return field.value.fields.get(name) if field and field.value else None
