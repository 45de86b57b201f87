"""From the KRT's model to the plan: pure functions, section 2 of docs/architecture.md."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from kai_airflow.plan import model, names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kai_airflow import krt


def compile_product(product: krt.Product) -> model.Plan:
    """The plan of a valid product."""
    return model.Plan(
        product=product.name,
        version=product.version,
        description=product.description,
        workflows=tuple(_workflow(product, workflow) for workflow in product.workflows),
    )


def _workflow(product: krt.Product, workflow: krt.Workflow) -> model.Workflow:
    processes = [_process(product, workflow, process) for process in workflow.processes]
    return model.Workflow(
        dag_id=names.dag_id(product.name, workflow.name),
        product=product.name,
        version=product.version,
        name=workflow.name,
        type=workflow.type,
        mode=workflow.mode,
        description=product.description,
        schedule=workflow.schedule,
        tags=("kai", f"product:{product.name}", f"type:{workflow.type}", f"version:{product.version}"),
        version_config=product.config,
        config=workflow.config,
        live_stream=names.live_stream(product.name, product.version, workflow.name),
        run_stream=names.run_stream(product.name, workflow.name),
        processes=tuple(_in_order(processes)),
    )


def _process(product: krt.Product, workflow: krt.Workflow, process: krt.Process) -> model.Process:
    scope = (product.name, product.version, workflow.name)
    store = process.object_store
    return model.Process(
        name=process.name,
        type=process.type,
        image=process.image,
        config=process.config,
        replicas=process.replicas,
        gpu=process.gpu,
        resources=_resources(process.resources),
        node_selectors=process.node_selectors,
        secrets=process.secrets,
        object_store=names.object_store(*scope, store.name, store.scope) if store else None,
        buckets=_buckets(*scope, process.name),
        feeds=_feeds(process),
        replies=tuple(s.text for s in process.subscriptions) if process.type == "trigger" else (),
        retries=process.retries,
        retry_delay=process.retry_delay,
        start_timeout=process.start_timeout,
        execution_timeout=process.execution_timeout,
        on_message_error=process.on_message_error,
        deferrable=process.deferrable,
    )


def _feeds(process: krt.Process) -> tuple[model.Feed, ...]:
    """A trigger subscribes to exits for its replies: no edge of the graph."""
    if process.type == "trigger":
        return ()
    return tuple(model.Feed(s.process, s.channel) for s in process.subscriptions)


def _resources(resources: krt.Resources) -> model.Resources:
    return model.Resources(
        cpu_request=resources.cpu.request,
        cpu_limit=resources.cpu.limit,
        memory_request=resources.memory.request,
        memory_limit=resources.memory.limit,
    )


def _buckets(product: str, version: str, workflow: str, process: str) -> model.Buckets:
    return model.Buckets(
        shared=names.global_bucket(product),
        version=names.version_bucket(product, version),
        workflow=names.workflow_bucket(product, version, workflow),
        process=names.process_bucket(product, version, workflow, process),
    )


def _in_order(processes: Iterable[model.Process]) -> list[model.Process]:
    """Topological order, the KRT's own where the graph leaves a choice; the KRT's whole where there is a cycle.

    Cycles only reach this point in workflows that stream: the language refuses them in batch mode.
    """
    by_name = {process.name: process for process in processes}
    sorter = TopologicalSorter({name: process.upstream for name, process in by_name.items()})
    try:
        sorter.prepare()
    except CycleError:
        return list(by_name.values())
    rank = {name: position for position, name in enumerate(by_name)}
    order: list[model.Process] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        order += [by_name[name] for name in ready]
        sorter.done(*ready)
    return order
