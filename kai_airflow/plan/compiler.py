"""From the KRT's model to the plan: pure functions, section 2 of docs/architecture.md."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from kai_airflow import krt
from kai_airflow.plan import model, names
from kai_airflow.plan.graph import in_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    Deployments: TypeAlias = Mapping[tuple[str, str], names.Deployment]


def compile_product(product: krt.Product) -> model.Plan:
    """The plan of a valid product."""
    names_of = [(workflow.name, process.name) for workflow in product.workflows for process in workflow.processes]
    deployments = names.deployments(product.name, product.version, names_of)
    return model.Plan(
        product=product.name,
        version=product.version,
        description=product.description,
        workflows=tuple(
            _workflow(product, dag_id, workflow, deployments)
            for dag_id, workflow in zip(dag_ids(product), product.workflows, strict=True)
        ),
    )


def dag_ids(product: krt.Product) -> tuple[names.DagId, ...]:
    """The DAG of each workflow."""
    version = product.version if product.version_in_dag_id else None
    return tuple(names.dag_id(product.name, workflow.name, version) for workflow in product.workflows)


def _workflow(
    product: krt.Product, dag_id: names.DagId, workflow: krt.Workflow, deployments: Deployments
) -> model.Workflow:
    processes = [_process(product, workflow, process, deployments) for process in workflow.processes]
    return model.Workflow(
        dag_id=dag_id,
        product=product.name,
        version=product.version,
        name=workflow.name,
        type=workflow.type,
        mode=workflow.mode,
        description=product.description,
        schedule=_schedule(workflow),
        keeper=workflow.keeper,
        start=_start(workflow),
        end=_in_zone(workflow.end_date, workflow) if workflow.end_date else None,
        catchup=workflow.catchup,
        max_active_runs=workflow.max_active_runs,
        messages_per_run=workflow.messages_per_run,
        access_control=workflow.access_control,
        owner=product.owner,
        namespace=product.namespace,
        tags=names.tags(product.name, product.version, workflow.type, product.tags),
        version_config=product.config,
        config=workflow.config,
        live_stream=names.live_stream(product.name, product.version, workflow.name),
        run_stream=names.run_stream(product.name, workflow.name),
        processes=tuple(in_order(processes)),
    )


def _schedule(workflow: krt.Workflow) -> str | timedelta | None:
    """What the workflow says itself, else what its trigger does."""
    if isinstance(workflow.timing, krt.Every):
        return timedelta(seconds=workflow.timing.seconds)
    return workflow.timing.expression if workflow.timing else workflow.schedule


def _start(workflow: krt.Workflow) -> datetime:
    """In the time zone of the schedule, which a trigger's cron may name itself; Airflow takes it from here."""
    start = _in_zone(workflow.start_date or krt.START, workflow)
    zone = workflow.timing.timezone if isinstance(workflow.timing, krt.Cron) else None
    return start.astimezone(ZoneInfo(zone)) if zone else start


def _in_zone(moment: datetime, workflow: krt.Workflow) -> datetime:
    zone = ZoneInfo(workflow.timezone or "UTC")
    return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)


def _process(
    product: krt.Product, workflow: krt.Workflow, process: krt.Process, deployments: Deployments
) -> model.Process:
    scope = (product.name, product.version, workflow.name)
    store, net = process.object_store, process.networking
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
        pool=process.pool,
        queue=process.queue,
        executor=process.executor,
        priority_weight=process.priority_weight,
        pod=process.pod,
        networking=model.Networking(net.target_port, net.destination_port, net.protocol) if net else None,
        live=_live(product, workflow, process, deployments),
    )


def _live(
    product: krt.Product, workflow: krt.Workflow, process: krt.Process, deployments: Deployments
) -> model.Live | None:
    if process.name == workflow.keeper or (process.type != "trigger" and workflow.mode == "batch"):
        return None
    stream = names.live_stream(product.name, product.version, workflow.name)
    subjects = [names.input_subject(stream, subscription.text) for subscription in process.subscriptions]
    named = process.type != "trigger"
    return model.Live(
        deployment=deployments[workflow.name, process.name],
        output=names.output_subject(stream, process.name),
        inputs=tuple(model.Input(s, names.consumer(s, process.name) if named else None) for s in subjects),
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
