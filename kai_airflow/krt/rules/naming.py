"""Names that the SDKs make of a KRT's (section 2 of the KAI reference): they can be neither shortened nor told apart.

Only long-lived processes use them: in batch mode each try has a consumer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_airflow.krt.rules.subscriptions import named, subscriptions_of
from kai_airflow.krt.rules.workflow import all_of, mode_of
from kai_airflow.krt.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kai_airflow.krt.draft import ProcessDraft, ProductDraft, WorkflowDraft
    from kai_airflow.krt.place import Field
    from kai_airflow.krt.report import Issue

LONGEST_CONSUMER = 255


def consumers(product: str, draft: ProductDraft) -> Iterator[Issue]:
    """Every consumer of a long-lived process has a name that NATS takes, and that no other has."""
    for workflow in all_of(draft):
        if mode_of(workflow) == "stream":
            yield from _consumers(len(f"{product}_{draft.version.value}_{workflow.name.value}."), workflow)


def _consumers(prefix: int, draft: WorkflowDraft) -> Iterator[Issue]:
    """``prefix``: the length of the stream's name and what parts it from the rest, the same for all of a workflow."""
    first: dict[str, tuple[ProcessDraft, Field[str]]] = {}
    for _, process, field in subscriptions_of(draft):
        if process.type.value == "trigger":  # its consumer's name ends in a random id
            continue
        consumer = f"{(field.value or '').replace('.', '-')}-{process.name.value}"
        same, other = first.setdefault(consumer, (process, field))
        if other.value != field.value or same.name.value != process.name.value:
            yield _collision(process, field, same, other)
        elif prefix + len(consumer) > LONGEST_CONSUMER:
            message = f"the consumer of {quoted(field.value or '')} has {prefix + len(consumer)} characters in NATS"
            remedy = f"Shorten the channel: KAI's SDKs make the name of it, and NATS takes {LONGEST_CONSUMER}."
            yield field.place.issue("consumer-too-long", message, remedy, named(process, field))


def _collision(process: ProcessDraft, field: Field[str], same: ProcessDraft, other: Field[str]) -> Issue:
    message = (
        f"{quoted(process.name.value or '')} would hear {quoted(field.value or '')} through the consumer through which "
        f"{quoted(same.name.value or '')} hears {quoted(other.value or '')}"
    )
    remedy = "Rename a process or a channel: KAI's SDKs name consumers after both, with '-' for '.'."
    return field.place.issue("consumer-collision", message, remedy, named(process, field))
