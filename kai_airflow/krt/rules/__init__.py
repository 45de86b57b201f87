"""Every rule of section 1 of the KAI reference, and those of the extension ``x-airflow``.

A rule is a function from a draft to the issues that it finds; it judges what was read and stays silent about a field of
a wrong type, which was reported already. The tables below are the list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from kai_airflow.krt.draft import ProcessDraft, ProductDraft, WorkflowDraft
from kai_airflow.krt.report import Issue
from kai_airflow.krt.rules import (
    extension,
    flow,
    naming,
    pod,
    process,
    product,
    secrecy,
    subscriptions,
    timing,
    workflow,
)

ProductRule: TypeAlias = Callable[[ProductDraft], Iterator[Issue]]
WorkflowRule: TypeAlias = Callable[[WorkflowDraft], Iterator[Issue]]
ProcessRule: TypeAlias = Callable[[ProcessDraft], Iterator[Issue]]

PRODUCT_RULES: tuple[ProductRule, ...] = (
    product.version,
    product.description,
    product.has_workflows,
    product.workflow_names_are_unique,
    extension.fields_are_within_bounds,
    extension.tags,
    extension.namespace,
)
WORKFLOW_RULES: tuple[WorkflowRule, ...] = (
    workflow.name,
    workflow.type_is_known,
    workflow.has_processes,
    workflow.has_trigger_and_exit,
    workflow.process_names_are_unique,
    extension.fields_are_within_bounds,
    extension.schedule,
    extension.timezone,
    extension.dates,
    extension.access_control,
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
    process.secrets,
    pod.metadata,
    pod.containers,
    pod.environment,
    extension.fields_are_within_bounds,
)
PRODUCT_DOUBTS: tuple[ProductRule, ...] = (secrecy.config_holds_no_secrets,)
WORKFLOW_DOUBTS: tuple[WorkflowRule, ...] = (
    flow.reaches_every_process,
    flow.reads_every_message,
    timing.is_kept_by_airflow,
)
PROCESS_DOUBTS: tuple[ProcessRule, ...] = (
    secrecy.environment_holds_no_secrets,
    process.replicas_are_none,
    process.subscribes_to_nothing,
    process.ports_are_none,
    process.memory_is_fractional,
)


def errors(name: str, draft: ProductDraft) -> Iterator[Issue]:
    """Every rule that is broken, lazily: a caller that has seen enough stops. ``name``: the product's."""
    for product_rule in PRODUCT_RULES:
        yield from product_rule(draft)
    for one_workflow in workflow.all_of(draft):
        for workflow_rule in WORKFLOW_RULES:
            yield from workflow_rule(one_workflow)
        yield from _of_processes(one_workflow, PROCESS_RULES)
    yield from naming.consumers(name, draft)


def warnings(draft: ProductDraft) -> Iterator[Issue]:
    """What is allowed but probably not meant."""
    for product_rule in PRODUCT_DOUBTS:
        yield from product_rule(draft)
    for one_workflow in workflow.all_of(draft):
        for workflow_rule in WORKFLOW_DOUBTS:
            yield from workflow_rule(one_workflow)
        yield from _of_processes(one_workflow, PROCESS_DOUBTS)


def _of_processes(draft: WorkflowDraft, rules: tuple[ProcessRule, ...]) -> Iterator[Issue]:
    for one_process in workflow.processes_of(draft):
        for rule in rules:
            yield from rule(one_process)
