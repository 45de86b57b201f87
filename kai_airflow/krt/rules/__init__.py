"""Every rule of section 1 of the KAI reference, and those of the extension ``x-airflow``.

A rule is a function from a draft to the issues that it finds; it judges what was read and stays silent about a field of
a wrong type, which was reported already. The tables below are the list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from kai_airflow.krt.draft import ProcessDraft, ProductDraft, WorkflowDraft
from kai_airflow.krt.report import Issue
from kai_airflow.krt.rules import process, product, subscriptions, workflow

ProductRule: TypeAlias = Callable[[ProductDraft], Iterator[Issue]]
WorkflowRule: TypeAlias = Callable[[WorkflowDraft], Iterator[Issue]]
ProcessRule: TypeAlias = Callable[[ProcessDraft], Iterator[Issue]]

PRODUCT_RULES: tuple[ProductRule, ...] = (
    product.version,
    product.description,
    product.has_workflows,
    product.workflow_names_are_unique,
)
WORKFLOW_RULES: tuple[WorkflowRule, ...] = (
    workflow.name,
    workflow.type_is_known,
    workflow.has_processes,
    workflow.has_trigger_and_exit,
    workflow.process_names_are_unique,
    workflow.schedule_says_something,
    workflow.mode_is_known,
    subscriptions.are_unique,
    subscriptions.name_processes_that_may_be_heard,
    subscriptions.name_channels_that_can_be,
    subscriptions.have_no_cycle_in_batch_mode,
)
PROCESS_RULES: tuple[ProcessRule, ...] = (
    process.name,
    process.type_is_known,
    process.image,
    process.object_store,
    process.has_subscriptions,
    process.networking,
    process.resources,
    process.node_selectors,
    process.retries,
    process.retry_delay,
    process.start_timeout,
    process.execution_timeout,
    process.on_message_error,
)
PROCESS_DOUBTS: tuple[ProcessRule, ...] = (
    process.replicas_are_none,
    process.subscribes_to_nothing,
    process.ports_are_none,
    process.memory_is_fractional,
)


def errors(draft: ProductDraft) -> Iterator[Issue]:
    """Every rule that is broken, lazily: a caller that has seen enough stops."""
    for product_rule in PRODUCT_RULES:
        yield from product_rule(draft)
    for one_workflow in workflow.all_of(draft):
        for workflow_rule in WORKFLOW_RULES:
            yield from workflow_rule(one_workflow)
        yield from _of_processes(one_workflow, PROCESS_RULES)


def warnings(draft: ProductDraft) -> Iterator[Issue]:
    """What is allowed but probably not meant."""
    for one_workflow in workflow.all_of(draft):
        yield from _of_processes(one_workflow, PROCESS_DOUBTS)


def _of_processes(draft: WorkflowDraft, rules: tuple[ProcessRule, ...]) -> Iterator[Issue]:
    for one_process in workflow.processes_of(draft):
        for rule in rules:
            yield from rule(one_process)
