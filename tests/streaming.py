"""A streaming workflow of shop/train, and the programs that its processes are."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kai_airflow import krt
from kai_airflow.plan import compile_product, names
from tests.conftest import LIVE_STREAM
from tests.process import worker

if TYPE_CHECKING:
    from kai_airflow.plan import Process, Workflow
    from tests.conftest import LiveWorkflow, Program

WORKER = Path(worker.__file__)
LIMITS = "resourceLimits: {CPU: {request: 100m}, memory: {request: 100M, limit: 200M}}"


def streaming(*, replicas: int = 1, work: str = "trigger", more: str = "", says: str = "{}") -> Workflow:
    """A trigger that hears the exit ``out``, and a task ``worker``.

    :param work: what the worker hears; ``says``: its extension; ``more``: further processes
    """
    text = f"""version: v1.0.0
description: text
workflows:
  - name: train
    type: serving
    processes:
      - {{name: trigger, type: trigger, image: i, {LIMITS}, subscriptions: [out]}}
      - {{name: worker, type: task, image: i, replicas: {replicas}, {LIMITS}, subscriptions: [{work}],
         x-airflow: {says}}}
      - {{name: out, type: exit, image: i, {LIMITS}, subscriptions: [worker]}}
{more}
"""
    product = krt.check(text.encode(), PurePath("shop/krt.yaml")).require()
    (workflow,) = compile_product(product).workflows
    assert workflow.live_stream == LIVE_STREAM
    return workflow


def process_of(workflow: Workflow, name: str) -> Process:
    (found,) = [process for process in workflow.processes if process.name == name]
    return found


def consumer_of(workflow: Workflow, name: str) -> names.Consumer:
    """The first that a process binds to."""
    live = process_of(workflow, name).live
    assert live is not None
    consumer = live.inputs[0].consumer
    assert consumer is not None
    return consumer


def labels_of(workflow: Workflow, name: str) -> dict[str, str]:
    return {
        "product": workflow.product,
        "version": workflow.version,
        "workflow": workflow.name,
        "process": name,
        "type": process_of(workflow, name).type,
    }


async def started(live: LiveWorkflow, name: str = "worker", *subscriptions: str) -> Program:
    """A pod of a process: it listens when this returns."""
    heard = subscriptions or ("trigger",)
    program = await live.run(live.app(name, heard), WORKER)
    await program.said(f"listening to {live.stream}.{heard[-1]}")
    return program
