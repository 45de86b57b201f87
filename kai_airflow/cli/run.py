"""``kai-airflow run``: a workflow once, without a scheduler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_airflow.cli import CANNOT, payloads, products
from kai_airflow.errors import KaiAirflowError

if TYPE_CHECKING:
    import argparse

    from kai_airflow.local.rehearsal import Job
    from kai_airflow.plan import Plan, Workflow

SUMMARY = "run a workflow of a KRT file once on this machine, without a scheduler"
EPILOG = """\
One task runs at a time, by Airflow's own `dag.test`. A task that fails is tried again as often as x-airflow.retries
says, one second later where x-airflow.retry_delay says nothing. Nothing is kept.
Exit codes: 0 all tasks succeeded or were skipped, 1 the run failed, 2 it can't be run, 130 interrupted.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("file", metavar="FILE", help="a KRT file")
    parser.add_argument("--workflow", metavar="NAME", help="where the file has several")
    parser.add_argument("--trigger", metavar="NAME", help="whose request it is, where the workflow has several")
    parser.add_argument(
        "--payload",
        metavar="JSON",
        default="null",
        help="of the request; @FILE reads it from a file, - from standard input (null)",
    )
    parser.add_argument(
        "--images", metavar="FILE", type=Path, help="the commands for images (images.yaml beside FILE or above it)"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output, all else elsewhere")


def run(args: argparse.Namespace) -> int:
    """Run the workflow: 0 when every task succeeded or was skipped, 1 otherwise, 2 for what can't be run."""
    from kai_airflow.local import programs

    programs.require_extra()  # what is imported below needs it

    from kai_airflow.cli import validate
    from kai_airflow.plan import compile_product

    report = products.load(args.file)
    if report.product is None:
        args.files, args.format = [args.file], "json" if args.json else "text"
        validate.run(args)
        return CANNOT
    workflow = _workflow(compile_product(report.product), args.workflow)
    return _run(args, Path(report.path), workflow)


def _run(args: argparse.Namespace, path: Path, workflow: Workflow) -> int:
    from kai_airflow.cli.rehearsal import perform

    images = args.images or _images(path)
    _require_images(images, workflow)
    return perform(_job(args, path, workflow), images, as_json=args.json)


def _job(args: argparse.Namespace, path: Path, workflow: Workflow) -> Job:
    from kai_airflow.local.rehearsal import Job

    trigger = products.chosen("trigger", args.trigger, [trigger.name for trigger in workflow.triggers])
    return Job(
        document=path.read_bytes(),
        path=str(path),
        dag_id=workflow.dag_id,
        conf={"payload": _payload(args.payload), "trigger": trigger},
        exits=[process.name for process in workflow.processes if process.type == "exit"],
    )


def _payload(given: str) -> Any:
    """The payload, as the conf of a run has it."""
    argument = "--payload"
    text = payloads.read(given.removeprefix("@"), argument) if given == "-" or given.startswith("@") else given
    return payloads.parsed(text, argument)


def _workflow(plan: Plan, named: str | None) -> Workflow:
    chosen = products.chosen("workflow", named, [workflow.name for workflow in plan.workflows])
    (workflow,) = [workflow for workflow in plan.workflows if workflow.name == chosen]
    if workflow.mode == "stream":
        raise KaiAirflowError(
            f"workflow {workflow.name!r} streams: its processes live on beside its runs, and here are none. "
            "Remedy: run it in `kai-airflow up`, or set x-airflow: {mode: batch} in the workflow."
        )
    return workflow


def _images(file: Path) -> Path:
    """The nearest images.yaml: a KRT stands in or below the dags folder, which has it at its root."""
    from kai_airflow.local.cluster import IMAGES

    for folder in file.parents:
        if (folder / IMAGES).is_file():
            return folder / IMAGES
    raise KaiAirflowError(
        f"no {IMAGES} in {file.parent} or above it. Remedy: write one, which names the command that stands for each "
        "image, as [python, ./program.py]; or name it with --images."
    )


def _require_images(images: Path, workflow: Workflow) -> None:
    """Raise where an image has no command, nor an engine: its task would wait as long as start_timeout says."""
    from kai_airflow.local.kubernetes import engine
    from kai_airflow.local.kubernetes.images import ImageMap
    from kai_airflow.local.kubernetes.pods import Container
    from kai_airflow.local.kubernetes.status import NotReadyError

    known, has_engine = ImageMap(images), images.exists() and engine.find(os.environ) is not None
    for process in workflow.processes:
        if process.type != "trigger":
            try:
                if known.has(process.image) or not has_engine:
                    known.command(Container(name=process.name, image=process.image))
            except NotReadyError as error:
                raise KaiAirflowError(f"process {process.name}: {error}") from error
