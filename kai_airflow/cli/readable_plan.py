"""A plan for people: what was said or follows from it. What is left to defaults isn't shown."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from kai_airflow.krt import START
from kai_airflow.krt.sensitive import shown
from kai_airflow.plan.plain import masked, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from kai_airflow.plan import Live, Plan, Process, Workflow

    Row: TypeAlias = tuple[str, object]
    """What it is called and its value; one without a value has nothing to tell."""

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def lines(plan: Plan) -> Iterator[str]:
    """The DAGs and their tasks, each as a head and a table."""
    yield f"{plan.product} {plan.version}: {shown(plan.description)}"
    for workflow in plan.workflows:
        yield ""
        yield f"DAG {workflow.dag_id}"
        yield from _table("  ", _workflow(workflow))
        for process in workflow.processes:
            yield ""
            yield f"  {process.name}: {_task(workflow, process)}"
            yield from _table("    ", _process(process))


def _table(indent: str, rows: Iterable[Row]) -> Iterator[str]:
    return (f"{indent}{name:<12}  {value}" for name, value in rows if value not in (None, "", ()))


def _workflow(workflow: Workflow) -> Iterator[Row]:
    yield "type", f"{workflow.type}, {workflow.mode}"
    yield from _times(workflow)
    yield "active runs", workflow.max_active_runs and f"at most {workflow.max_active_runs}"
    yield "messages", f"up to {workflow.messages_per_run} a run" if workflow.messages_per_run > 1 else None
    yield "owner", workflow.owner
    yield "access", "; ".join(f"{role}: {', '.join(may)}" for role, may in workflow.access_control.items())
    yield "tags", ", ".join(workflow.tags)
    yield "config", _pairs({**workflow.version_config, **workflow.config})
    yield "namespace", workflow.namespace
    yield from (("stream", stream) for stream in _streams(workflow))
    yield from (("bucket", bucket) for bucket in _shared_buckets(workflow))


def _times(workflow: Workflow) -> Iterator[Row]:
    yield "schedule", schedule(workflow) + (f", instead of the trigger {workflow.keeper}" if workflow.keeper else "")
    yield "start", None if _starts_by_default(workflow.start) else moment(workflow.start)
    yield "end", workflow.end and moment(workflow.end)
    yield "catchup", "from the start on" if workflow.catchup else None


def schedule(workflow: Workflow) -> str:
    """A workflow's schedule, with its time zone where that isn't UTC."""
    said = workflow.schedule
    if isinstance(said, timedelta):
        return f"every {duration(said.total_seconds())}"
    return ", ".join([said or "none", *([zone(workflow.start)] if said and zone(workflow.start) != "UTC" else [])])


def moment(when: datetime) -> str:
    """A day, its time, and the time zone."""
    return f"{when:%Y-%m-%d %H:%M} {zone(when)}"


def duration(seconds: float) -> str:
    """``1 hour 30 minutes``."""
    parts: list[tuple[float, str]] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        parts.append((count, unit))
    parts.append((round(seconds, 3), "second"))
    return " ".join(f"{count:g} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count) or "0 seconds"


def _starts_by_default(start: datetime) -> bool:
    """The default is a day's beginning in the workflow's time zone, which a cron may name another one of."""
    return start.replace(tzinfo=None) == START or start == START.replace(tzinfo=UTC)


def _streams(workflow: Workflow) -> Iterator[str]:
    if workflow.mode == "batch":
        yield f"{workflow.run_stream} (runs)"
    if any(process.live for process in workflow.processes):
        yield f"{workflow.live_stream} (long-lived processes)"


def _shared_buckets(workflow: Workflow) -> tuple[str, ...]:
    buckets = workflow.processes[0].buckets
    return buckets.shared, buckets.version, buckets.workflow


def _task(workflow: Workflow, process: Process) -> str:
    """What a process becomes."""
    if process.live and workflow.mode == "stream":
        return f"{process.type}, a long-lived process"
    if process.type == "trigger":
        return "trigger, a task without a pod" + (", and a long-lived process" if process.live else "")
    return f"{process.type}, a task with a pod"


def _process(process: Process) -> Iterator[Row]:
    yield "image", process.image
    yield "fed by", ", ".join(feed.text for feed in process.feeds)
    yield "replies from", ", ".join(process.replies)
    yield "config", _pairs(process.config)
    if process.live or process.type != "trigger":
        yield from _pod(process)
    yield from _behaviour(process)
    if process.live:
        yield from _live(process.live)


def _pod(process: Process) -> Iterator[Row]:
    resources = process.resources
    yield "CPU", _quantity(resources.cpu_request, resources.cpu_limit)
    yield "memory", _quantity(resources.memory_request, resources.memory_limit)
    yield "GPU", "one" if process.gpu else None
    yield "replicas", process.replicas if process.replicas > 1 else None
    yield "nodes", _pairs(process.node_selectors)
    yield "secrets", ", ".join(process.secrets)
    yield "object store", process.object_store
    yield "bucket", process.buckets.process
    if net := process.networking:
        yield "port", f"{net.target_port}, called by {net.destination_port}, {net.protocol}"
    yield "pod", json.dumps(masked(process.pod), ensure_ascii=False) if process.pod else None


def _quantity(request: str, limit: str) -> str:
    return request if request == limit else f"{request} to {limit}"


def _pairs(texts: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in masked(texts).items())


def _behaviour(process: Process) -> Iterator[Row]:
    """What Airflow is told of a task; None is left to its defaults."""
    yield "retries", _retries(process)
    yield "time limits", ", ".join(_limits(process))
    yield "errors", "travel on" if process.on_message_error == "continue" else None
    yield "waits in", {True: "the triggerer", False: "a worker", None: None}[process.deferrable]
    yield "pool", process.pool
    yield "queue", process.queue
    yield "executor", process.executor
    yield "priority", process.priority_weight


def _retries(process: Process) -> str | None:
    after = None if process.retry_delay is None else f"after {duration(process.retry_delay)}"
    return ", ".join(str(part) for part in (process.retries, after) if part is not None)


def _limits(process: Process) -> Iterator[str]:
    if process.start_timeout is not None:
        yield f"{duration(process.start_timeout)} to subscribe"
    if process.execution_timeout is not None:
        yield f"{duration(process.execution_timeout)} for a try"


def _live(live: Live) -> Iterator[Row]:
    yield "Deployment", live.deployment
    yield "publishes", live.output
    for heard in live.inputs:
        yield "listens", f"{heard.subject}, consumer {heard.consumer}" if heard.consumer else heard.subject
