"""The rules of the document's top level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.krt import forms
from kai_airflow.krt.rules.common import missing, repeated
from kai_airflow.krt.rules.workflow import all_of
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import ProductDraft
    from kai_airflow.krt.report import Issue


def version(draft: ProductDraft) -> Iterator[Issue]:
    """Required, ``v1.2.3``."""
    field = draft.version
    yield from missing(field, "Write the version of the product, such as 'version: v1.0.0'.")
    if field.value and not forms.fits(forms.VERSION, field.value):
        message = f"the version {quoted(field.value)} is not v and three numbers"
        yield field.place.issue("invalid-version", message, "Write it as v1.0.0, the v included.")


def description(draft: ProductDraft) -> Iterator[Issue]:
    """Required."""
    yield from missing(draft.description, "Say in a sentence what the product does.")


def has_workflows(draft: ProductDraft) -> Iterator[Issue]:
    """At least one."""
    yield from missing(draft.workflows, "List at least one workflow under 'workflows:'.")


def workflow_names_are_unique(draft: ProductDraft) -> Iterator[Issue]:
    """No two workflows of a product share a name."""
    yield from repeated((workflow.name for workflow in all_of(draft)), "workflow")
