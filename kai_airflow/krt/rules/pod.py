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
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.report import Issue
    from kai_airflow.krt.schema import Table

OWN = "process"
"""The name of the process's own container."""
_VARIABLE = re.compile(r"[\x20-\x3c\x3e-\x7e]+")  # printable ASCII but for the equals sign


def metadata(draft: ProcessDraft) -> Iterator[Issue]:
    """Labels and annotations that Kubernetes takes."""
    for name in ("labels", "annotations"):
        field: Field[Table[str]] | None = _member(_member(_pod(draft), "metadata"), name)
        for key, value in field.value.fields.items() if field and field.value else ():
            yield from common.label(key, value if name == "labels" else None, value.place)


def containers(draft: ProcessDraft) -> Iterator[Issue]:
    """By its name a container adds to the process's own, or stands beside it with an image of its own."""
    for container in _containers(draft, "containers"):
        name, image = _member(container, "name"), _member(container, "image")
        if name and name.value and name.value != OWN and not (image and image.value):
            message = f"the container {quoted(name.value)} has no image"
            remedy = f"Name its image, or name it {OWN!r} to add to the process's own container."
            yield container.place.issue("invalid-pod", message, remedy)
    names = [field for container in _all_containers(draft) if (field := _member(container, "name"))]
    for field in names:
        if field.value:
            yield from common.bad_name(field, "the container's name", forms.LONGEST_LABEL)
    yield from common.repeated(names, "container")
    for container in _containers(draft, "initContainers"):
        if (field := _member(container, "name")) and field.value == OWN:
            message = f"{OWN!r} is the process's own container, and no init container"
            yield field.place.issue("invalid-pod", message, "Give it another name.")


def environment(draft: ProcessDraft) -> Iterator[Issue]:
    """Names that Kubernetes takes for variables, each once in a container."""
    for container in _all_containers(draft):
        names = [field for variable in _variables(container) if (field := _member(variable, "name"))]
        for field in names:
            if field.value and not _VARIABLE.fullmatch(field.value):
                message = f"an environment variable is named {quoted(field.value)}, which Kubernetes doesn't take"
                yield field.place.issue("invalid-pod", message, "Name it with printable ASCII but '='.")
        yield from common.repeated(names, "environment variable")


def variables(draft: ProcessDraft) -> Iterator[tuple[str, Field[str]]]:
    """Name and value of each variable of the environment whose value stands in the KRT."""
    for container in _all_containers(draft):
        for variable in _variables(container):
            name, value = _member(variable, "name"), _member(variable, "value")
            if name and name.value and value and value.value:
                yield name.value, value


def _all_containers(draft: ProcessDraft) -> Iterator[Field[Table[Any]]]:
    yield from _containers(draft, "containers")
    yield from _containers(draft, "initContainers")


def _containers(draft: ProcessDraft, kind: str) -> Iterator[Field[Table[Any]]]:
    field = _member(_member(_pod(draft), "spec"), kind)
    yield from (one for one in field.value or () if one.value is not None) if field else ()


def _variables(container: Field[Table[Any]]) -> Iterator[Field[Table[Any]]]:
    field = _member(container, "env")
    yield from (one for one in field.value or () if one.value is not None) if field else ()


def _pod(draft: ProcessDraft) -> Field[Table[Any]] | None:
    return draft.extension.value.pod if draft.extension.value else None


def _member(field: Field[Table[Any]] | None, name: str) -> Field[Any] | None:
    return field.value.fields.get(name) if field and field.value else None
